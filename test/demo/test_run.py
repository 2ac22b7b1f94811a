# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The demo asks about a scene while it is in view, and reports what it measured."""
from types import SimpleNamespace

import pytest

from demo import run as demo
from demo.player import period_ns, restamped

PERIOD = 6.0
SEGMENTS = [
    {'t0': 0.0, 't1': 3.0, 'questions': [{'prompt': 'a', 'kind': 'count'},
                                         {'prompt': 'b', 'kind': 'free'}]},
    {'t0': 3.0, 't1': 6.0, 'questions': [{'prompt': 'c', 'kind': 'json'}]}]


class SlowClient:
    """Answers about the image of now, after `seconds`; time is its own."""

    def __init__(self, monkeypatch, seconds, images=('image',)):
        self.seconds, self.time, self.images, self.asked = seconds, 0.0, images, []
        monkeypatch.setattr(demo.time, 'sleep', self.sleep)

    def sleep(self, seconds):
        self.time += seconds

    def now(self):
        return int(self.time * 1e9)

    def ask(self, query):
        self.asked.append(query.prompt)
        seconds, nanoseconds = divmod(self.now(), 1_000_000_000)
        self.time += self.seconds
        return SimpleNamespace(
            text='x', error_message='', images=self.images, header=SimpleNamespace(
                stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds)))

    def generate(self, query, show):
        return self.ask(query)


def asked(client):
    return [question['prompt'] for question, *_ in demo.ask_all(client, 0, PERIOD, SEGMENTS)]


def test_a_machine_that_keeps_up_asks_everything_once(monkeypatch):
    client = SlowClient(monkeypatch, 0.1)
    assert asked(client) == client.asked == ['a', 'b', 'c']
    assert client.time < PERIOD


def test_every_answer_is_about_the_scene_of_its_question(monkeypatch):
    client = SlowClient(monkeypatch, 2.9)  # b comes too late in the first round
    for question, answer, _ in demo.ask_all(client, 0, PERIOD, SEGMENTS):
        segment = next(s for s in SEGMENTS if question in s['questions'])
        assert segment['t0'] <= demo.stamp_ns(answer) / 1e9 % PERIOD < segment['t1']
    assert sorted(set(client.asked)) == ['a', 'b', 'c'] and len(client.asked) > 3


@pytest.mark.parametrize('seconds', [2.9, 20.0])
def test_however_slow_every_question_is_answered_once(monkeypatch, seconds):
    assert sorted(asked(SlowClient(monkeypatch, seconds))) == ['a', 'b', 'c']


def test_an_answer_without_an_image_is_an_answer(monkeypatch):
    client = SlowClient(monkeypatch, 0.1, images=())
    assert asked(client) == client.asked == ['a', 'b', 'c']


def test_the_report_has_its_eight_figures():
    def answer(json_status, first, total):
        return SimpleNamespace(json_status=json_status, VALID=1,
                               timings=SimpleNamespace(first_token=first, total=total))

    asked = [(True, answer(1, 0.1, 0.2), 0.3), (False, answer(0, 0.3, 0.4), 0.5)]
    assert demo.report(asked, window_correct=1, live_hz=2.34) == {
        'asked': 2, 'correct': 1, 'window_correct': 1, 'json_valid': 1,
        'first_token_ms_p50': 200.0, 'answer_ms_p50': 300.0, 'camera_to_answer_ms_p50': 400.0,
        'live_hz': 2.3}


def test_a_schema_becomes_text_in_the_query():
    query = demo.make_query({'prompt': 'a', 'kind': 'json', 'json_schema': {'type': 'object'}})
    assert query.json_schema == '{"type": "object"}'
    assert demo.make_query({'prompt': 'a', 'kind': 'count'}).json_schema == ''


def test_a_question_about_what_changed_is_asked_about_the_window():
    query = demo.make_query({'prompt': 'a', 'kind': 'window'})
    assert query.image_source == query.WINDOW
    assert demo.make_query({'prompt': 'a', 'kind': 'free'}).image_source == query.LATEST


@pytest.mark.parametrize('oldest, newest, right', [
    (3.0, 4.5, True), (3.5, 4.5, False), (3.0, 3.9, False), (3.0, 7.5, False)])
def test_a_window_must_have_seen_both_sides_of_the_change(oldest, newest, right):
    def stamped(at):
        return SimpleNamespace(header=SimpleNamespace(
            stamp=SimpleNamespace(sec=0, nanosec=round(at * 1e9))))
    answer = SimpleNamespace(images=[stamped(oldest)], header=stamped(newest).header)
    question = {'kind': 'window', 'first_before': 3.4, 'last_after': 4.0}
    assert demo.in_time(question, answer, 0.0, 4.1, 7.2) == right


def test_the_next_round_begins_one_interval_after_the_last_image():
    assert period_ns({0: None, 100: None, 200: None}) == 300


def test_a_played_image_keeps_its_frame_id_and_gets_the_new_stamp():
    import numpy as np

    recorded = SimpleNamespace(format='jpeg', header=SimpleNamespace(frame_id='camera'),
                               data=np.arange(4, dtype=np.uint8))
    message = restamped(recorded, 12_000_000_034)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)
    assert message.header.frame_id == 'camera' and bytes(message.data) == b'\0\1\2\3'
