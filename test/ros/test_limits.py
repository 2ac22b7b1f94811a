# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises where something runs out: the queue, the time, the model itself."""
from fakes import FakeModel
from harness import long_reply, wait_until

from nanovlm_ros.msg import Answer


def test_a_full_queue_refuses_and_the_waiting_are_answered(make_robot, client, gate):
    hold = gate('prefill')
    robot = make_robot(FakeModel(before=hold), queue_size=1, max_sequences=1)
    first = client.ask_later('one')
    assert hold.reached.wait(20)
    second = client.ask_later('two')
    wait_until(lambda: robot.node.runtime.executor.stats().queued == 1, 'queueing')
    third = client.ask('three')
    assert third.error_code == Answer.ERROR_QUEUE_FULL and 'queue_size' in third.error_message
    hold.open.set()
    assert (first().answer.text, second().answer.text) == ('one||1', 'two||1')


def test_a_passed_deadline_gives_what_there_is(make_robot, client):
    make_robot(FakeModel(long_reply, token_seconds=0.01))
    answer = client.ask(timeout=0.5, config={'max_new_tokens': 4000})
    assert (answer.error_code, answer.finish_reason) == (Answer.ERROR_TIMEOUT, 'timeout')
    assert answer.text.startswith('word')


def test_a_query_cannot_lengthen_the_node_s_timeout(make_robot, client):
    make_robot(FakeModel(long_reply, token_seconds=0.01), ask_timeout=0.5)
    answer = client.ask(timeout=1000.0, config={'max_new_tokens': 4000})
    assert answer.error_code == Answer.ERROR_TIMEOUT


def test_the_reply_comes_although_a_step_is_stuck(make_robot, client, gate):
    hold = gate('prefill')
    make_robot(FakeModel(before=hold))
    answer = client.ask(timeout=0.3)
    assert not hold.open.is_set()
    assert (answer.error_code, answer.finish_reason) == (Answer.ERROR_TIMEOUT, 'timeout')
    hold.open.set()
    assert client.ask('after').text == 'after||1'


def test_a_model_that_breaks_in_a_step_fails_that_request_only(make_robot, client):
    faults = ['decode']

    def break_once(stage):
        if stage in faults:
            faults.remove(stage)
            raise RuntimeError('the device hiccuped')

    make_robot(FakeModel(before=break_once))
    answer = client.ask()
    assert answer.error_code == Answer.ERROR_MODEL_ERROR and 'hiccuped' in answer.error_message
    assert client.ask('again').text == 'again||1'
