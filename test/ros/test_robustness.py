# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Replies that are owed are paid whatever happens to the node, and no message ends it."""
import threading

import pytest
from fakes import FakeModel
from harness import wait_until
from std_srvs.srv import Trigger

from nanovlm_ros.msg import Answer, Query
from nanovlm_ros.srv import SetPrompts

DIGITS = '{"minimum": ' + '9' * 5000 + '}'


def waiting(robot):
    return lambda: next(iter(robot.node.runtime.cameras))._waiters


def test_a_schema_with_endless_digits_is_refused(make_robot, client):
    robot = make_robot()
    assert client.ask(json_schema=DIGITS).error_code == Answer.ERROR_BAD_SCHEMA
    reply = client.start('set_prompts', SetPrompts.Request(prompts=['a'], json_schemas=[DIGITS]))()
    assert reply.error_code == Answer.ERROR_BAD_SCHEMA
    assert not robot.set(live__json_schemas=[DIGITS])[0].successful
    assert client.ask('hi').text == 'hi||1'


def test_a_fault_of_the_node_itself_costs_one_request(make_robot, client, monkeypatch):
    robot = make_robot()
    monkeypatch.setattr(robot.node.runtime.gateway._resolver, 'deadline',
                        lambda *_: 1 / 0)
    answer = client.ask()
    assert answer.error_code == Answer.ERROR_MODEL_ERROR and 'ZeroDivision' in answer.error_message
    monkeypatch.undo()
    assert client.ask('hi').text == 'hi||1'


@pytest.mark.parametrize('how', ['trigger_deactivate', 'trigger_shutdown', 'finish'])
def test_a_request_that_waits_for_an_image_is_answered(make_robot, client, how):
    robot = make_robot()
    reply = client.ask_later(image_source=Query.NEXT)
    wait_until(waiting(robot), 'waiting')
    robot.call(getattr(robot.node, how))
    assert reply().answer.error_code == Answer.ERROR_CANCELED


def test_running_requests_are_answered_at_lifecycle_shutdown(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold))
    asked = client.ask_later('one')
    assert hold.reached.wait(20)
    goal = client.generate('two')
    threading.Timer(0.1, hold.open.set).start()
    robot.call(robot.node.trigger_shutdown)
    ends = (Answer.ERROR_CANCELED, Answer.ERROR_SHUTTING_DOWN)
    assert asked().answer.error_code in ends and goal.end()[1].error_code in ends


def test_a_reply_is_paid_although_the_node_was_activated_again(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold))
    client.heard(robot)
    first = client.ask_later('one', request_id='one')
    assert hold.reached.wait(20)
    robot.call(robot.node.trigger_deactivate)
    robot.call(robot.node.trigger_activate)
    second = client.ask_later('two', request_id='two')
    hold.open.set()
    assert first().answer.error_code == Answer.ERROR_CANCELED
    assert second().answer.text == 'two||1'
    wait_until(lambda: len(client.answers) >= 2)
    assert sorted(a.request_id for a in client.answers) == ['one', 'two']


def test_reset_does_not_hold_the_deadlines_of_others(make_robot, client, gate):
    hold = gate('prefill')
    make_robot(FakeModel(before=hold))
    asked = client.ask_later(timeout=0.2)
    assert hold.reached.wait(20)
    reset = client.start('reset', Trigger.Request())
    assert asked().answer.error_code == Answer.ERROR_TIMEOUT
    assert not hold.open.is_set() and not reset.done()
    hold.open.set()
    assert reset().success


def test_a_stuck_step_fails_everything_and_ends_the_process(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold), watchdog_timeout=0.5)
    codes = []
    robot.node.runtime.watchdog._die = codes.append
    client.heard(robot)
    replies = [client.ask_later(str(i), request_id=str(i)) for i in range(2)]
    assert hold.reached.wait(20)
    assert [r().answer.error_code for r in replies] == [Answer.ERROR_MODEL_ERROR] * 2
    wait_until(lambda: codes, 'the end of the process')
    assert codes == [70] and 'stuck' in robot.node.health.stuck
    assert sorted(a.request_id for a in client.answers) == ['0', '1']


def test_status_and_diagnostics_go_on_while_simulated_time_stands_still(make_robot, client):
    from diagnostic_msgs.msg import DiagnosticArray

    from nanovlm_ros.msg import ModelStatus

    seen = {'status': [], 'diagnostics': []}
    client.call(lambda: client.node.create_subscription(
        ModelStatus, '/nanovlm/status', seen['status'].append, 10))
    client.call(lambda: client.node.create_subscription(
        DiagnosticArray, '/diagnostics', seen['diagnostics'].append, 10))
    make_robot(use_sim_time=True)
    wait_until(lambda: len(seen['diagnostics']) >= 2 and len(seen['status']) >= 3, 'two seconds')
