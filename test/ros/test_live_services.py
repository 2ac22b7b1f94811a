# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of ~/set_prompts and ~/enable to a live loop that runs."""
import json

from fakes import FakeModel
from harness import image, wait_until
from std_srvs.srv import SetBool

from nanovlm_ros.msg import Answer
from nanovlm_ros.srv import SetPrompts

SCHEMA = json.dumps({'type': 'object', 'properties': {'n': {'type': 'integer'}},
                     'required': ['n'], 'additionalProperties': False})


def answers_to(client, prompt):
    return [a for a in client.answers if a.prompt == prompt]


def test_live_answers_follow_the_schema_that_came_with_the_prompts(make_robot, client):
    robot = make_robot(FakeModel(lambda turns: '{"n": 3}'), live__enabled=True, live__rate=50.0,
                       live__prompts=['free'], cameras=['left'])
    client.heard(robot)
    client.show(robot, image(1, frame_id='arm'), '/left/image')
    free = wait_until(lambda: answers_to(client, 'free'), 'the answer in free text')[0]
    assert (free.json, free.json_status) == ('', Answer.NOT_REQUESTED)
    assert client.start('set_prompts', SetPrompts.Request(
        prompts=['how many?'], json_schemas=[SCHEMA]))().success
    sent = image(2, frame_id='arm')
    client.show(robot, sent, '/left/image')
    found = wait_until(lambda: [a for a in answers_to(client, 'how many?')
                                if a.header == sent.header], 'the answer in JSON')[0]
    assert (found.json, found.json_status) == ('{"n": 3}', Answer.VALID)
    assert found.images[0].camera == 'left'


def test_a_refused_change_leaves_the_loop_as_it_was(make_robot, client):
    robot = make_robot(live__enabled=True, live__rate=50.0, live__prompts=['old'])
    client.heard(robot)
    assert not client.start('set_prompts', SetPrompts.Request(
        prompts=['new'], json_schemas=['{"type": 1']))().success
    sent = image(1)
    client.show(robot, sent)
    found = wait_until(lambda: answers_to(client, 'old'), 'an answer to the old prompt')
    assert found[0].header == sent.header and not answers_to(client, 'new')


def test_the_loop_starts_and_stops_by_the_service(make_robot, client):
    robot = make_robot(live__enabled=False, live__rate=50.0, live__prompts=['live'])
    client.heard(robot)
    client.show(robot, image(1))
    assert client.ask('between').error_code == 0
    assert not answers_to(client, 'live')
    assert client.start('enable', SetBool.Request(data=True))().success
    wait_until(lambda: answers_to(client, 'live'), 'a live answer')
    assert client.start('enable', SetBool.Request(data=False))().success
    assert robot.node.runtime.live._timer is None
    wait_until(lambda: not robot.node.runtime.executor.stats().running, 'the last one')
    before = len(answers_to(client, 'live'))
    client.show(robot, image(2))
    assert client.ask('after').error_code == 0
    assert len(answers_to(client, 'live')) == before
