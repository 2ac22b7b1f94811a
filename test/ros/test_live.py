# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The live loop: newest frame, one at a time, missed ticks counted, queries first."""
import threading

import pytest
from fakes import FakeModel
from harness import image, wait_until
from rcl_interfaces.msg import Log


def asked(robot, prompt):
    """What the model was asked, as (prompt, gray value) pairs, from now on."""
    seen = []

    def reply(turns):
        turn = turns[-1]
        seen.append((turn.user, round(float(turn.frames[0].rgb.mean())) if turn.frames else None))
        return ' ok'

    robot.model.reply = reply
    return seen


def test_every_prompt_is_asked_about_a_frame_once(make_robot, client):
    robot = make_robot(live__prompts=['a', 'b'], live__rate=50.0, live__enabled=True)
    client.heard(robot)
    seen = asked(robot, 'a')
    sent = image(50)
    client.show(robot, sent)
    wait_until(lambda: len(client.answers) >= 2, 'two live answers')
    assert not threading.Event().wait(0.3)  # many ticks without a new image
    received = next(iter(robot.node.runtime.cameras)).received  # lost ones are sent again
    rounds = len(seen) // 2
    assert seen == [('a', 50), ('b', 50)] * rounds and 1 <= rounds <= received
    assert all(a.header == sent.header for a in client.answers)
    assert all(a.request_id.startswith('live-') for a in client.answers)


def test_a_tick_that_waited_behind_a_query_uses_the_newest_frame(make_robot, client, gate):
    hold = gate('prefill')
    robot = make_robot(FakeModel(), max_sequences=1, live__prompts=['live'], live__rate=50.0)
    seen = asked(robot, 'live')
    client.show(robot, image(1))
    robot.model.before = hold
    query = client.ask_later('query')
    assert hold.reached.wait(20)
    robot.set(live__enabled=True)
    wait_until(lambda: robot.node.runtime.executor.stats().queued, 'a waiting tick')
    missed = robot.node.runtime.executor.stats().live_missed
    client.show(robot, image(200))
    wait_until(lambda: robot.node.runtime.executor.stats().live_missed > missed, 'a replaced tick')
    hold.open.set()
    assert query().answer.text == 'ok'
    wait_until(lambda: len(seen) > 1, 'the live question')
    assert seen[:2] == [('query', None), ('live', 200)]


def test_ticks_that_find_the_last_one_running_are_counted(make_robot, client, gate):
    hold = gate('prefill')
    robot = make_robot(FakeModel(before=hold), live__prompts=['a'], live__rate=50.0,
                       live__enabled=True)
    client.show(robot, image(1))
    assert hold.reached.wait(20)
    client.show(robot, image(2))
    wait_until(lambda: robot.node.runtime.live_missed >= 3, 'missed ticks')
    assert len(robot.model.sequences) == 1  # nothing else was begun meanwhile


def test_the_loop_lives_on_without_images_and_with_bad_ones(make_robot, client):
    robot = make_robot(live__prompts=['a'], live__rate=50.0, live__enabled=True)
    client.heard(robot)
    bad = image()
    bad.encoding = 'nonsense'
    client.show(robot, bad)
    assert client.ask('hi').text == 'hi||1'
    client.show(robot, image(9))
    wait_until(lambda: any(a.request_id.startswith('live-') for a in client.answers))


def test_rate_and_prompts_may_change_while_it_runs(make_robot, client):
    robot = make_robot(live__prompts=['a'], live__rate=0.01, live__enabled=True)
    seen = asked(robot, 'a')
    client.show(robot, image(1))
    assert all(r.successful for r in robot.set(live__rate=50.0, live__prompts=['new']))
    wait_until(lambda: ('new', 1) in seen, 'the new prompt')


@pytest.mark.parametrize('parameters, said', [
    ({'live__prompts': ['']}, 'asks nothing'),
    ({'live__prompts': ['a', 'b', 'c'], 'max_sequences': 2}, '3 live prompts, and 2')])
def test_what_the_live_loop_cannot_do_at_once_is_said(make_robot, client, parameters, said):
    heard = []
    client.call(lambda: client.node.create_subscription(
        Log, '/rosout', lambda log: heard.append(log.msg), 100))
    make_robot(live__enabled=True, **parameters)
    wait_until(lambda: any(said in line for line in heard), said)
