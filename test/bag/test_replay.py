# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Replay follows the node's live loop: the newest image, missed ticks, ages."""
import json

import pytest
from recordings import (
    TOPIC, FakeSpec, film, image, ns, read_lines, write_bag, write_questions)

from nanovlm_ros.bag.outputs import summarise
from nanovlm_ros.bag.plan import Sampling
from nanovlm_ros.bag.result_folder import read_results
from nanovlm_ros.bag.run import REPLAY
from nanovlm_ros.types import NanoVlmError


@pytest.fixture
def replayed(options, evaluate, tmp_path):
    """Return a function: questions -> (rows, drops)."""
    def run(*questions, topics=None, **changes):
        bag = tmp_path / 'day'
        bag.exists() or write_bag(bag, topics or {TOPIC: film(20)})
        evaluate(options, bags=[bag], questions=write_questions(tmp_path, *questions), mode=REPLAY,
                 **changes)
        return (read_lines(options.out / 'results.jsonl', measured=True),
                read_lines(options.out / 'dropped.jsonl'))
    return run


def test_nothing_is_missed_while_answers_are_quicker_than_ticks(replayed):
    rows, drops = replayed({'period': 0.2}, cost_s=0.15)
    assert [r['log_ns'] for r in rows] == [ns(n / 5) for n in range(10)]
    assert drops == []


def test_a_tick_that_comes_too_early_is_missed_and_the_next_takes_the_newest(replayed):
    rows, drops = replayed({'period': 0.2}, cost_s=0.25)
    assert [r['text'] for r in rows] == [f'ask 0|{n}|1' for n in (0, 4, 8, 12, 16)]
    assert [d['log_ns'] for d in drops] == [ns(n / 10) for n in (2, 6, 10, 14, 18)]
    assert {(d['bag'], d['camera'], d['question'], d['reason']) for d in drops} == {
        ('day', TOPIC, 'q0', 'busy')}


def test_each_answer_knows_how_old_its_picture_was(replayed):
    delayed = [(at + 0.03, message) for at, message in film(20)]
    rows, _ = replayed({'period': 0.5}, topics={TOPIC: delayed}, cost_s=0.1)
    measured = rows[1]['measured']
    # The tick is 0.5 s after the first image came, at 0.53 s; that of 0.5 s is the newest.
    assert measured['answered_ns'] == ns(0.63)
    assert measured['age_s'] == pytest.approx(0.13)


def test_without_a_period_each_image_is_a_tick(replayed):
    rows, drops = replayed({}, cost_s=0.25)
    assert [r['log_ns'] for r in rows] == [ns(n / 10) for n in (0, 3, 6, 9, 12, 15, 18)]
    assert len(drops) == 13


def test_the_questions_of_a_tick_are_asked_together_and_missed_together(replayed):
    rows, drops = replayed({'phrasings': ['a', 'b'], 'period': 0.2}, {'period': 0.4}, cost_s=0.25)
    assert [(r['log_ns'], r['question']) for r in rows[:4]] == [
        (ns(0), 'q0'), (ns(0), 'q0'), (ns(0), 'q1'), (ns(0.4), 'q0')]
    assert rows[0]['measured']['answered_ns'] == rows[2]['measured']['answered_ns']
    assert {d['question'] for d in drops} == {'q0'}


def test_a_tick_without_a_new_image_asks_nothing(replayed):
    rows, drops = replayed({'period': 0.1}, topics={TOPIC: film(4, period=0.5)}, cost_s=0.01)
    assert [r['text'] for r in rows] == [f'ask 0|{n}|1' for n in range(4)]
    assert drops == []


LATE = {TOPIC: film(1) + [(1.6, film(1, first=1)[0][1])] + film(1, first=5)}


def test_an_image_that_is_too_old_is_not_asked_about_and_counts_once(replayed):
    rows, drops = replayed({'period': 1.0}, {'id': 'w', 'period': 1.0, 'window': {
        'frames': 2, 'period': 1.0}}, topics=LATE, cost_s=0.01, max_age_s=0.5)
    # At 2 s the image of 1 s has come; a window may be older by its period.
    assert [(r['question'], r['log_ns']) for r in rows] == [
        ('q0', ns(0)), ('w', ns(0)), ('w', ns(1.6)), ('q0', ns(5)), ('w', ns(5))]
    assert [(d['question'], d['log_ns'], d['reason']) for d in drops] == [
        ('q0', ns(1.6), 'stale')]


def test_with_age_0_images_of_any_age_are_asked_about(replayed):
    rows, drops = replayed({'period': 1.0}, topics=LATE, cost_s=0.01, max_age_s=0.0)
    assert [r['log_ns'] for r in rows] == [ns(0), ns(1.6), ns(5)] and drops == []


def test_an_image_that_was_answered_is_never_dropped(replayed, options):
    # Ticks at 0.05 s while that at 0 s is answered until 0.07 s: no new image, nothing missed.
    rows, drops = replayed({'period': 0.05}, cost_s=0.07)
    assert len(rows) == 20 and drops == []
    found = summarise(read_results(options.out))['system']['dropped']
    assert (found['due'], found['answered'], found['dropped']) == (20, 20, 0)


def test_an_image_that_a_later_tick_asks_about_was_not_dropped(replayed):
    # At 0.3 s the first answer is not there yet, at 0.4 s it is: the same image is due at both.
    rows, drops = replayed({'period': 0.1}, topics={TOPIC: film(3, period=0.3)}, cost_s=0.35)
    assert [r['measured']['answered_ns'] for r in rows] == [ns(0.35), ns(0.75)]
    assert [(d['log_ns'], d['reason']) for d in drops] == [(ns(0.6), 'busy')]


def test_many_questions_at_once_are_a_tick_of_the_node(replayed):
    asked = [f'p{n}' for n in range(20)]
    rows, _ = replayed({'phrasings': asked, 'period': 1.0}, cost_s=0.01,
                       engine=FakeSpec(token_seconds=0.001, max_sequences=2))
    assert [r['text'] for r in rows] == [f'{p}|{n}|1' for n in (0, 10) for p in asked]


def test_one_question_about_several_cameras_gets_an_answer_for_each(replayed):
    topics = {'/a': film(5), '/b': [(at, image(100 + n, ns(at))) for n, (at, _) in
                                    enumerate(film(5))]}
    rows, _ = replayed({'period': 0.2}, topics=topics, cost_s=0.01,
                       sampling=Sampling(topics=('/a', '/b')))
    assert [(r['camera'], r['text']) for r in rows[:2]] == [
        ('/a', 'ask 0|0|1'), ('/b', 'ask 0|100|1')]


def test_stamps_of_another_clock_count_from_receipt(replayed):
    old = [(n / 10, image(n, ns(n / 10) + 10**13)) for n in range(10)]
    rows, drops = replayed({'period': 0.2}, topics={TOPIC: old}, cost_s=0.05)
    assert len(rows) == 5 and drops == []
    assert rows[0]['measured']['age_s'] == pytest.approx(0.05)


def test_without_a_stamp_ages_count_from_receipt(replayed):
    rows, drops = replayed({}, topics={TOPIC: [(0, image(1, 0))]}, cost_s=0.05)
    assert rows[0]['measured']['age_s'] == pytest.approx(0.05) and drops == []


def test_a_window_shows_what_had_arrived(replayed):
    rows, _ = replayed({'window': {'frames': 3, 'period': 0.2}, 'period': 0.5}, cost_s=0.05)
    assert [r['text'] for r in rows] == [
        f'ask 0|{seen}|1' for seen in ('0', '0,2,4', '8,10', '12,14')]


def test_measured_answers_take_the_time_they_take(replayed):
    rows, drops = replayed({'period': 0.1}, engine=FakeSpec(token_seconds=0.02))
    measured = rows[0]['measured']
    assert measured['total_s'] > 0.15  # ten tokens
    assert measured['answered_ns'] == ns(0) + round(measured['total_s'] * 1e9)
    assert rows[1]['log_ns'] >= ns(0.2) and drops


@pytest.mark.parametrize('cost_s', [0.25, None])
def test_a_replay_that_was_stopped_goes_on_with_the_same_rows(replayed, options, cost_s):
    slow = FakeSpec(token_seconds=0.02)
    ask = {'phrasings': ['a', 'b'], 'period': 0.1}
    whole, drops = replayed(ask, cost_s=cost_s, engine=slow)
    path = options.out / 'results.jsonl'
    # In the middle of a tick, and of a line.
    path.write_bytes(b''.join(path.read_bytes().splitlines(keepends=True)[:5]) + b'{"ba')
    rows, again = replayed(ask, cost_s=cost_s, engine=slow)
    assert rows[:5] == whole[:5]
    if cost_s:
        strip = [{**r, 'measured': r['measured']['answered_ns']} for r in rows]
        assert strip == [{**r, 'measured': r['measured']['answered_ns']} for r in whole]
        assert again == drops


def test_a_replay_of_a_range_begins_with_it(replayed):
    rows, _ = replayed({'period': 0.5}, cost_s=0.1, sampling=Sampling(start_s=0.55))
    # Ticks at 0.55 s, before which nothing came, at 1.05 and at 1.55 s.
    assert [r['log_ns'] for r in rows] == [ns(1.0), ns(1.5)]


def test_a_replay_is_of_one_engine(replayed):
    with pytest.raises(NanoVlmError, match='leave out --workers'):
        replayed({}, workers=2)


def test_the_run_says_how_it_was_replayed(replayed, options):
    replayed({'period': 0.5}, cost_s=0.25, max_age_s=3.0)
    run = json.loads((options.out / 'run.json').read_text())
    assert run['replay'] == {'cost_s': 0.25, 'max_image_age_s': 3.0}
