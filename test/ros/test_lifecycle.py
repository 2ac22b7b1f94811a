# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle: load on configure, serve when active, free on cleanup, one end each."""
import gc
import os
import threading

import pytest
from action_msgs.msg import GoalStatus
from fakes import FakeModel
from harness import image, long_reply, wait_until
from rclpy.lifecycle import TransitionCallbackReturn

from nanovlm_ros.msg import Answer, Query
from nanovlm_ros.types import ErrorCode, NanoVlmError

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def transition(robot, name):
    return robot.call(getattr(robot.node, f'trigger_{name}'))


def test_transitions_load_serve_and_free(make_robot, client):
    robot = make_robot(autostart=False)
    assert robot.models == [] and robot.state == 'unconfigured'
    assert transition(robot, 'configure') == SUCCESS and robot.state == 'inactive'
    assert client.ask().error_code == Answer.ERROR_NOT_READY
    assert transition(robot, 'activate') == SUCCESS and robot.state == 'active'
    assert client.ask('hi').text == 'hi||1'
    assert transition(robot, 'deactivate') == SUCCESS
    assert transition(robot, 'cleanup') == SUCCESS and robot.state == 'unconfigured'
    assert robot.models[0].closed


def test_the_model_lives_on_one_thread_that_is_not_the_node_s(make_robot, client):
    robot = make_robot()
    client.ask()
    transition(robot, 'deactivate')
    transition(robot, 'cleanup')
    assert robot.models[0].threads == {'mlc-executor'}


def test_a_model_that_cannot_be_loaded_fails_configure_and_can_be_mended(make_robot, client):
    def load():
        if not mended:
            raise NanoVlmError(ErrorCode.MODEL_ERROR, 'There is no file /models/x/config.json.')
        return FakeModel()

    mended = []
    robot = make_robot(load, autostart=False)
    assert transition(robot, 'configure') == FAILURE and robot.state == 'unconfigured'
    mended.append(True)
    assert transition(robot, 'configure') == SUCCESS
    assert transition(robot, 'activate') == SUCCESS
    assert client.ask('hi').text == 'hi||1'


def test_any_exception_while_loading_fails_configure(make_robot):
    def load():
        raise ZeroDivisionError('surprise')

    robot = make_robot(load, autostart=False)
    assert transition(robot, 'configure') == FAILURE


def test_shutdown_frees_the_model_from_every_state(make_robot):
    for steps in ((), ('configure',), ('configure', 'activate')):
        robot = make_robot(FakeModel, autostart=False)
        for step in steps:
            assert transition(robot, step) == SUCCESS
        assert transition(robot, 'shutdown') == SUCCESS
        assert all(model.closed for model in robot.models)


def test_requests_in_flight_end_once_when_the_node_is_deactivated(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold))
    client.heard(robot)
    running = client.ask_later('one', request_id='one')
    assert hold.reached.wait(20)
    goal = client.generate('two', request_id='two')
    waiting = client.ask_later('three', request_id='three', image_source=Query.NEXT)
    wait_until(lambda: next(iter(robot.node.runtime.cameras))._waiters, 'waiting')
    assert transition(robot, 'deactivate') == SUCCESS
    hold.open.set()
    assert running().answer.error_code == Answer.ERROR_CANCELED
    assert waiting().answer.error_code == Answer.ERROR_CANCELED
    status, answer = goal.end()
    assert (status, answer.error_code) == (
        GoalStatus.STATUS_ABORTED, Answer.ERROR_CANCELED)
    wait_until(lambda: len(client.answers) >= 3, 'the answers on the topic')
    assert transition(robot, 'cleanup') == SUCCESS
    ids = sorted(a.request_id for a in client.answers)
    assert ids == ['one', 'three', 'two']
    for name in ids:
        assert [c.done for c in client.stream if c.request_id == name].count(True) == 1


def test_an_inactive_node_can_be_activated_again(make_robot, client):
    robot = make_robot(FakeModel(long_reply, token_seconds=0.002))
    goal = client.generate(config={'max_new_tokens': 4000})
    wait_until(lambda: goal.feedback, 'feedback')
    transition(robot, 'deactivate')
    goal.end()
    assert transition(robot, 'activate') == SUCCESS
    assert client.ask(config={'max_new_tokens': 4}).finish_reason == 'length'


def test_every_request_ends_once_at_the_end_of_the_process(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold), max_sequences=1)
    client.heard(robot)
    replies = [client.ask_later(str(i), request_id=f'r{i}') for i in range(3)]
    assert hold.reached.wait(20)
    wait_until(lambda: robot.node.runtime.executor.stats().queued == 2, 'queueing')
    threading.Timer(0.2, hold.open.set).start()
    robot.call(robot.node.finish)
    assert [r().answer.error_code for r in replies] == [Answer.ERROR_SHUTTING_DOWN] * 3
    wait_until(lambda: len(client.answers) >= 3)
    assert sorted(a.request_id for a in client.answers) == ['r0', 'r1', 'r2']


def test_fifty_cycles_leave_no_thread_and_no_handle_behind(make_robot, client):
    robot = make_robot(FakeModel, autostart=False, live__enabled=True, live__prompts=['what?'])

    def cycle():
        for step in ('configure', 'activate', 'deactivate', 'cleanup'):
            assert transition(robot, step) == SUCCESS, step

    def handles():
        gc.collect()
        return threading.active_count(), len(os.listdir('/proc/self/fd'))

    for _ in range(3):
        cycle()
    before = handles()
    for number in range(50):
        cycle()
    assert len(robot.models) == 53 and all(model.closed for model in robot.models)
    wait_until(lambda: handles() <= before, f'a return to {before}')


@pytest.mark.parametrize('name', ['activate', 'deactivate', 'cleanup'])
def test_a_transition_out_of_order_is_refused_and_harmless(make_robot, name):
    robot = make_robot(autostart=False)
    assert transition(robot, name) != SUCCESS and robot.state == 'unconfigured'
    assert transition(robot, 'configure') == SUCCESS


def test_images_that_come_before_activation_count(make_robot, client):
    robot = make_robot(autostart=False)
    transition(robot, 'configure')
    client.show(robot, image(70))
    transition(robot, 'activate')
    assert client.ask('see', image_source=Query.LATEST).text == 'see|70|1'
