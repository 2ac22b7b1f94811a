# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which questions are asked about which images: decided from headers alone."""
import pytest
from recordings import ROS2, STRING, TOPIC, film, image, ns, write_bag, write_questions

from nanovlm_ros.bag.part import part_of
from nanovlm_ros.bag.plan import Sampling, make_plans
from nanovlm_ros.bag.questions import load_questions
from nanovlm_ros.bag.reader import named
from nanovlm_ros.types import NanoVlmError


def plan(tmp_path, *questions, topics=None, **sampling):
    path = write_bag(tmp_path / 'night', topics)
    asked = load_questions(write_questions(tmp_path, *questions))
    made, = make_plans(named([path]), asked, Sampling(**sampling))
    return made


def shown(made):
    return [ask.frames for ask in made.asks]


def test_every_image_is_asked_about_once_for_each_question_and_phrasing(tmp_path):
    made = plan(tmp_path, {'phrasings': ['a', 'b']}, {})
    assert [(a.trigger, a.question, a.phrasing) for a in made.asks[:4]] == [
        (0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert len(made.asks) == 30


@pytest.mark.parametrize('sampling, expected', [
    ({'every': 3}, [0, 3, 6, 9]), ({'period_s': 0.25}, [0, 3, 6, 9]),
    ({'start_s': 0.2, 'end_s': 0.5}, [0, 1, 2]), ({'every': 2, 'period_s': 0.3}, [0, 4, 8])])
def test_images_are_sampled_by_number_by_time_and_in_a_range(tmp_path, sampling, expected):
    assert shown(plan(tmp_path, {}, **sampling)) == [(n,) for n in expected]


def test_a_question_has_a_period_or_stamps_of_its_own(tmp_path):
    made = plan(tmp_path, {'period': 0.4}, {'stamps': [0.0, 0.35, 5]})
    asked = {number: [a.frames[0] for a in made.asks if a.question == number] for number in (0, 1)}
    assert asked == {0: [0, 4, 8], 1: [0, 4]}
    assert any('not asked at 5 s' in sentence for sentence in made.warnings())


@pytest.mark.parametrize('mode, then', [
    ('exact', [(2, 4, 6), (4, 6, 8)]), ('rolling', [(4, 6), (4, 6, 8)])])
def test_a_window_fills_and_then_slides_or_goes_on_with_its_newer_half(tmp_path, mode, then):
    made = plan(tmp_path, {'window': {'frames': 3, 'period': 0.2, 'mode': mode}})
    assert shown(made) == [(0,), (0, 2), (0, 2, 4), *then]


def test_a_clock_that_goes_back_empties_the_window_and_is_said(tmp_path):
    messages = film(4) + [(at + 0.4, message) for at, message in film(4)]
    made = plan(tmp_path, {'window': {'frames': 3, 'period': 0}}, topics={TOPIC: messages})
    assert shown(made)[2:6] == [(0, 1, 2), (2, 3), (4,), (4, 5)]
    sentence, = made.warnings()
    assert 'go back 1 times, first by 0.300 s at 0.400 s' in sentence


def test_another_camera_on_the_same_topic_empties_the_window(tmp_path):
    messages = film(5)
    for _, message in messages[3:]:
        message.header.frame_id = 'rear'
    made = plan(tmp_path, {'window': {'frames': 3, 'period': 0}}, topics={TOPIC: messages})
    assert shown(made) == [(0,), (0, 1), (0, 1, 2), (3,), (3, 4)]


def test_a_question_about_two_cameras_gets_the_newest_of_each(tmp_path):
    topics = {'/a': film(3), '/b': film(2, first=0.05)}
    made = plan(tmp_path, {'cameras': ['/a', '/b']}, topics=topics)
    # 0 a, 1 b, 2 a, 3 b, 4 a: not before both have come, then with each image of the first.
    assert shown(made) == [(2, 1), (4, 3)]


def test_several_topics_are_asked_about_one_by_one(tmp_path):
    topics = {'/a': film(2), '/b': film(2, first=0.05)}
    made = make_plans(named([write_bag(tmp_path / 'two', topics)]),
                      load_questions(write_questions(tmp_path, {})),
                      Sampling(topics=('/a', '/b')))[0]
    assert shown(made) == [(0,), (1,), (2,), (3,)]


def test_an_image_without_a_good_header_does_not_join_a_window(tmp_path):
    messages = film(4)
    messages[1][1].encoding = 'smell8'
    made = plan(tmp_path, {'window': {'frames': 2, 'period': 0}}, {}, topics={TOPIC: messages})
    assert [a.frames for a in made.asks if a.question == 0] == [(0,), (0, 2), (2, 3)]
    assert [a.frames for a in made.asks if a.question == 1] == [(0,), (1,), (2,), (3,)]


def test_images_without_a_stamp_are_taken_by_their_receipt(tmp_path):
    made = plan(tmp_path, {'period': 0.2}, topics={
        TOPIC: [(n / 10, image(n, 0)) for n in range(5)]})
    assert shown(made) == [(0,), (2,), (4,)]
    assert made.index.stamp_ns[1] == ns(0.1)


def test_a_part_begins_with_the_images_of_its_first_window(tmp_path):
    made = plan(tmp_path, {'window': {'frames': 3, 'period': 0.2}})
    part = part_of(made, made.asks[4:])
    assert (part.first, len(part.log_ns), sorted(part.needed)) == (4, 5, [4, 6, 8])


def test_a_bag_without_images_lists_its_topics(tmp_path):
    with pytest.raises(NanoVlmError, match='no images; its topics are: /chat'):
        plan(tmp_path, {}, topics={'/chat': [(0, ROS2.types[STRING](data='x'))]})


def test_a_range_without_images_says_how_long_the_bag_is(tmp_path):
    with pytest.raises(NanoVlmError, match='0.9 s long'):
        plan(tmp_path, {}, start_s=5)
