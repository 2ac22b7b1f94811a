# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of image_source WINDOW and of live prompts about it."""
import array
import time

import pytest
from fakes import FakeModel, describe
from harness import image, wait_until
from std_srvs.srv import Trigger

from nanovlm_ros.msg import Answer, Query

# An image that is sent twice, because best effort lost the first, joins once.
WINDOW = {'window__enabled': True, 'window__period': 0.005, 'window__frames': 4}


def shown(robot, client, *grays, camera='/image', age=0.0):
    """Show images one after another, 10 ms apart; each has arrived when the next is sent."""
    sent = []
    for number, gray in enumerate(grays):
        sent.append(image(gray, age=age + 0.01 * (len(grays) - number)))
        client.show(robot, sent[-1], camera)
    return sent


def test_a_question_about_the_window_sees_its_frames_in_order(make_robot, client):
    robot = make_robot(**WINDOW)
    sent = shown(robot, client, 10, 20, 30)
    for answer in (client.ask('see', image_source=Query.WINDOW),
                   client.generate('see', image_source=Query.WINDOW).end()[1]):
        assert answer.text == 'see|10,20,30|1'
        assert [i.header for i in answer.images] == [i.header for i in sent]
        assert answer.header == sent[-1].header
        assert all(i.age >= 0 for i in answer.images)


def test_the_executor_keeps_the_window_and_the_query_names_its_generation(make_robot, client):
    robot = make_robot(**WINDOW)
    shown(robot, client, 10, 20)
    wait_until(lambda: robot.model.watched and len(robot.model.watched[-1][1][0][1]) == 2)
    name, generations, rolling = robot.model.watched[-1]
    assert name == '' and rolling
    picked = robot.call(lambda: robot.node.runtime.windows.pick(
        robot.node.runtime.cameras.first, 0))
    assert picked == generations[0]


def test_fewer_frames_are_the_newest_ones(make_robot, client):
    robot = make_robot(**WINDOW)
    shown(robot, client, 10, 20, 30)
    assert client.ask('see', image_source=Query.WINDOW, window_frames=2).text == 'see|20,30|1'


def test_an_exact_window_slides(make_robot, client):
    robot = make_robot(**WINDOW, window__mode='exact')
    shown(robot, client, 10, 20, 30, 40, 50, 60)
    assert client.ask('see', image_source=Query.WINDOW).text == 'see|30,40,50,60|1'
    assert not robot.model.watched[-1][2]


def test_a_rolling_window_goes_on_with_its_newer_half(make_robot, client):
    robot = make_robot(**WINDOW)
    shown(robot, client, 10, 20, 30, 40, 50)
    assert client.ask('see', image_source=Query.WINDOW).text == 'see|30,40,50|1'


def test_each_camera_has_a_window_of_its_own(make_robot, client):
    robot = make_robot(**WINDOW, cameras=['left', 'right'])
    shown(robot, client, 10, 20, camera='/left/image')
    shown(robot, client, 70, camera='/right/image')
    assert client.ask('see', image_source=Query.WINDOW, cameras=['right']).text == 'see|70|1'
    left = client.ask('see', image_source=Query.WINDOW)
    assert left.text == 'see|10,20|1' and [i.camera for i in left.images] == ['left', 'left']


@pytest.mark.parametrize('parameters, query, code, words', [
    ({}, {}, Answer.ERROR_INVALID_REQUEST, 'window.enabled'),
    (WINDOW, {}, Answer.ERROR_NO_IMAGE, 'empty'),
    (WINDOW, {'window_frames': 5}, Answer.ERROR_INVALID_REQUEST, 'at most 4'),
    (WINDOW, {'cameras': ['', '']}, Answer.ERROR_INVALID_REQUEST, 'one camera'),
    (WINDOW, {'cameras': ['x']}, Answer.ERROR_INVALID_REQUEST, "no camera 'x'")])
def test_a_window_that_cannot_be_had_is_refused_with_a_sentence(
        make_robot, client, parameters, query, code, words):
    make_robot(**parameters)
    answer = client.ask('see', image_source=Query.WINDOW, **query)
    assert answer.error_code == code and words in answer.error_message


def test_a_window_may_be_older_than_an_image_by_its_period(make_robot, client):
    robot = make_robot(**{**WINDOW, 'window__period': 100.0}, max_image_age=1.0)
    shown(robot, client, 10, age=50.0)
    assert client.ask('see', image_source=Query.LATEST).error_code == Answer.ERROR_STALE_IMAGE
    assert client.ask('see', image_source=Query.WINDOW).error_code == 0


def test_a_window_whose_camera_stopped_is_stale(make_robot, client):
    robot = make_robot(**{**WINDOW, 'window__period': 100.0}, max_image_age=1.0)
    shown(robot, client, 10, age=200.0)
    answer = client.ask('see', image_source=Query.WINDOW)
    assert answer.error_code == Answer.ERROR_STALE_IMAGE
    assert client.ask('see', image_source=Query.WINDOW,
                      max_image_age=300.0).error_code == 0


def test_a_corrupt_image_is_left_out_of_the_window(make_robot, client):
    robot = make_robot(**WINDOW, compressed=False)
    shown(robot, client, 10)
    bad = image(20)
    bad.data = array.array('B', bytes(5))
    client.show(robot, bad)
    shown(robot, client, 30)
    assert client.ask('see', image_source=Query.WINDOW).text == 'see|10,30|1'


@pytest.mark.parametrize('model, parameters', [
    ({'max_images': 3}, {}), ({'context_length': 40}, {}),  # 4 frames of 4 tokens, and words
    ({'max_images': 8}, {'window__mode': 'exact', 'cameras': [str(n) for n in range(9)]})])
def test_a_window_that_the_model_cannot_hold_fails_in_configure(make_robot, model, parameters):
    robot = make_robot(FakeModel(**model), **{**WINDOW, **parameters}, autostart=False)
    robot.call(robot.node.trigger_configure)
    assert robot.state == 'unconfigured'
    assert robot.models[-1].closed


def test_a_reset_empties_the_window(make_robot, client):
    robot = make_robot(**WINDOW)
    shown(robot, client, 10)
    assert client.start('reset', Trigger.Request())().success
    assert client.ask('see', image_source=Query.WINDOW).error_code == Answer.ERROR_NO_IMAGE
    shown(robot, client, 20)
    assert client.ask('see', image_source=Query.WINDOW).text == 'see|20|1'


def test_live_prompts_about_the_window_run_on_every_new_frame(make_robot, client):
    robot = make_robot(FakeModel(describe), **WINDOW, live__enabled=True, live__rate=50.0,
                       live__source='window', live__prompts=['a', 'b'])
    client.heard(robot)
    sent = []
    for gray, expected in ((10, '|10|1'), (20, '|10,20|1')):
        sent += shown(robot, client, gray)
        for prompt in 'ab':
            wait_until(lambda p=prompt, e=expected: any(
                a.text == p + e and a.header == sent[-1].header for a in client.answers),
                f'{prompt}{expected}')


def test_each_live_prompt_has_its_own_schema(make_robot, client):
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    robot = make_robot(FakeModel(lambda turns: ' {"n": 1}'), live__enabled=True, live__rate=50.0,
                       live__prompts=['free', 'json'], live__json_schemas=['', schema])
    client.heard(robot)
    shown(robot, client, 10)
    by_prompt = wait_until(lambda: len(client.answers) >= 2 and {
        a.prompt: a.json_status for a in client.answers})
    assert by_prompt == {'free': Answer.NOT_REQUESTED, 'json': Answer.VALID}


def test_an_inactive_node_samples_its_windows_and_computes_nothing(make_robot, client):
    robot = make_robot(**WINDOW)
    robot.call(robot.node.trigger_deactivate)
    before = len(robot.model.watched)
    shown(robot, client, 10, 20)
    assert len(robot.model.watched) == before
    robot.call(robot.node.trigger_activate)
    wait_until(lambda: [len(frames) for _, generations, _ in robot.model.watched[before:]
                        for _, frames in generations[:1]] == [2])
    assert client.ask('see', image_source=Query.WINDOW).text == 'see|10,20|1'


def test_windows_are_prepared_under_the_nodes_system_prompt(make_robot, client):
    robot = make_robot(**WINDOW, system_prompt='Be brief.')
    shown(robot, client, 10)
    wait_until(lambda: robot.model.watched)
    assert set(robot.model.prompts_of_windows) == {'Be brief.'}
    robot.set(system_prompt='Be kind.')
    shown(robot, client, 20)
    wait_until(lambda: robot.model.prompts_of_windows[-1] == 'Be kind.')


def test_frames_without_a_stamp_have_the_age_of_their_arrival(make_robot, client):
    robot = make_robot(**{**WINDOW, 'window__period': 0.3})
    for gray in (10, 20):
        client.show(robot, image(gray, stamp=0))
        time.sleep(0.4)
    answer = client.ask('see', image_source=Query.WINDOW)
    old, new = (i.age for i in answer.images)
    assert 0.3 <= old - new < 5 and 0.3 < new < 5


def test_a_reset_replies_although_the_executor_takes_no_more(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold), **WINDOW, watchdog_timeout=0.5)
    robot.node.runtime.watchdog._die = lambda code: None
    shown(robot, client, 10)
    asked = client.ask_later('x')
    assert hold.reached.wait(20)
    reset = client.start('reset', Trigger.Request())
    assert not reset().success and 'stuck' in reset().message
    assert asked().answer.error_code == Answer.ERROR_MODEL_ERROR
    hold.open.set()
