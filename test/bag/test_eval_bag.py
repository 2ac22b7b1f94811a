# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The held-out bag: rooms in which things happen, with labels that agree with the scenes."""
import pytest
from recordings import read_lines

from nanovlm_ros.bag.plan import Sampling, make_plans
from nanovlm_ros.bag.questions import load_questions
from nanovlm_ros.bag.reader import named
from nanovlm_ros.bag.truth import Truths
from training import make_eval_bag as maker

MINUTES, RATE = 0.5, 10


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('held_out')
    assert maker.write(folder, MINUTES, RATE) == 300
    questions = load_questions(folder / 'questions.yaml')
    plan, = make_plans(named([folder / 'bag']), questions, Sampling())
    return folder, questions, plan


def test_the_bag_has_several_rooms_and_events_in_them(made):
    rooms = maker.rooms(maker.SEED, 300, RATE)
    assert [room.begin for room in rooms] == [0, 100, 200]
    assert sum(len(room.watch.events) for room in rooms) >= 3
    signs = {room.watch.scenes[0].signs[0].text for room in rooms}
    assert len(signs) > 1


def test_images_come_at_the_rate_and_are_sharp(made):
    from nanovlm_ros.bag.frames import frame_of
    from nanovlm_ros.bag.reader import Bag
    folder, _, plan = made
    assert len(plan.index) == 300
    assert set(plan.index.log_ns[1:] - plan.index.log_ns[:-1]) == {10**8}
    with Bag(folder / 'bag') as bag:
        frame = frame_of(bag, next(bag.messages(plan.index.topics)))
    assert frame.rgb.shape == (480, 640, 3)
    gray = frame.rgb.mean(axis=2)
    assert abs(gray[1:] - gray[:-1]).max() > 60  # edges are edges


def test_labels_are_what_the_scenes_say(made):
    folder, questions, plan = made
    truths = Truths(plan, questions, folder)
    number = {q.id: n for n, q in enumerate(questions)}
    for room in maker.rooms(maker.SEED, 300, RATE):
        for frame in range(0, len(room.watch.scenes), 7):
            scene, stamp = room.watch.scenes[frame], int(plan.index.stamp_ns[room.begin + frame])
            assert truths.of(number['boxes'], stamp, stamp) == sum(
                t.kind == 'box' for t in scene.things)
            assert truths.of(number['door'], stamp, stamp) == (
                'Open.' if scene.door.open else 'Closed.')
            report = truths.of(number['report'], stamp, stamp)
            assert report['door'] == ('open' if scene.door.open else 'closed')


def test_a_window_over_two_rooms_has_no_truth(made):
    folder, questions, plan = made
    truths = Truths(plan, questions, folder)
    number = next(n for n, q in enumerate(questions) if q.id == 'change')
    stamps = plan.index.stamp_ns.tolist()
    known = [truths.of(number, stamp, stamp) is not None for stamp in stamps]
    assert known == ([False] * 15 + [True] * 85) * 3


def test_every_kind_of_question_is_asked_in_phrasings_of_both_kinds(made):
    from training.questions.asking import phrases
    _, questions, _ = made
    assert {q.score for q in questions} == {
        'yes_no', 'number', 'choice', 'text_distance', 'json', 'normalised'}
    by_id = {q.id: q for q in questions}
    assert by_id['sign'].phrasings[0] in phrases('read')
    assert by_id['sign'].phrasings[1] in phrases('read, test only')


def test_the_same_seed_makes_the_same_labels(made, tmp_path):
    maker.write(tmp_path, 0.1, RATE)
    maker.write(tmp_path / 'b', 0.1, RATE)
    assert (tmp_path / 'labels.jsonl').read_text() == (tmp_path / 'b/labels.jsonl').read_text()
    assert read_lines(tmp_path / 'labels.jsonl')[0]['start_ns'] == maker.START_NS


def test_raw_images_are_written_for_large_bags(tmp_path):
    assert maker.write(tmp_path, 0.05, 4, raw=True) == 12
    size = sum(path.stat().st_size for path in (tmp_path / 'bag').iterdir())
    assert size > 12 * 640 * 480 * 3
