# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises about images from topics: which one is used, how old it may be, what is kept of it."""
import time

import pytest
from harness import SECOND, compressed, image, wait_until
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from nanovlm_ros.msg import Answer, Query


def test_latest_uses_the_newest_image_with_its_header_and_age(make_robot, client):
    robot = make_robot()
    for value in (10, 20):
        newest = image(value, frame_id='front_eye')
        client.show(robot, newest)
    answer = client.ask('see', image_source=Query.LATEST)
    assert answer.text == 'see|20|1' and answer.header == newest.header
    seen, = answer.images
    assert (seen.width, seen.height, seen.camera, seen.header) == (8, 6, '', newest.header)
    assert 0 <= seen.age < 5


def test_two_questions_about_one_image_share_its_frame(make_robot, client):
    robot = make_robot()
    client.show(robot, image(10))
    keys = []
    robot.model.reply = lambda turns: keys.append(turns[-1].frames[0].key) or ' ok'
    for _ in range(2):
        client.ask(image_source=Query.LATEST)
    client.show(robot, image(20))
    client.ask(image_source=Query.LATEST)
    assert keys[0] == keys[1] != keys[2]


def test_next_takes_an_image_that_came_after_the_question(make_robot, client):
    robot = make_robot()
    client.show(robot, image(10))
    reply = client.ask_later('see', image_source=Query.NEXT)
    camera = next(iter(robot.node.runtime.cameras))
    wait_until(lambda: camera._waiters, 'waiting')
    assert not reply.done()
    client.show(robot, image(20))
    assert reply().answer.text == 'see|20|1'


def test_cameras_are_used_by_name_and_in_order(make_robot, client):
    robot = make_robot(cameras=['left', 'right'])
    client.show(robot, image(10, frame_id='l'), '/left/image')
    client.show(robot, image(20, frame_id='r'), '/right/image')
    both = client.ask('see', image_source=Query.LATEST, cameras=['right', 'left'])
    assert both.text == 'see|20,10|1'
    assert [(i.camera, i.header.frame_id) for i in both.images] == [('right', 'r'), ('left', 'l')]
    assert client.ask('see', image_source=Query.LATEST).text == 'see|10|1'
    unknown = client.ask(image_source=Query.LATEST, cameras=['top'])
    assert "'left', 'right'" in unknown.error_message


@pytest.mark.parametrize('kind', ['.jpg', '.png'])
def test_compressed_cameras_are_decoded(make_robot, client, kind):
    robot = make_robot(compressed=True)
    sent = compressed(40, kind=kind)
    client.show(robot, sent, '/image/compressed')
    answer = client.ask('see', image_source=Query.LATEST)
    assert answer.text == 'see|40|1' and answer.header == sent.header


def test_an_image_is_not_decoded_before_it_is_used(make_robot, client, monkeypatch):
    from nanovlm_ros import imaging

    decoded = []
    real = imaging.decode_raw
    monkeypatch.setattr(imaging, 'decode_raw',
                        lambda *arguments: decoded.append(1) or real(*arguments))
    robot = make_robot()
    for _ in range(5):
        client.show(robot, image())
    assert not decoded
    client.ask(image_source=Query.LATEST)
    assert len(decoded) == 1


def test_a_stale_image_is_refused_by_the_parameter(make_robot, client):
    robot = make_robot(max_image_age=1.0)
    client.show(robot, image(age=5))
    answer = client.ask(image_source=Query.LATEST)
    assert answer.error_code == Answer.ERROR_STALE_IMAGE
    assert '/image' in answer.error_message and 'max_image_age' in answer.error_message


def test_a_query_sets_its_own_age_limit(make_robot, client):
    robot = make_robot(max_image_age=1.0)
    client.show(robot, image(age=5))
    assert client.ask(image_source=Query.LATEST, max_image_age=60.0).error_code == 0
    assert robot.set(max_image_age=60.0)[0].successful
    answer = client.ask(image_source=Query.LATEST, max_image_age=0.5)
    assert answer.error_code == Answer.ERROR_STALE_IMAGE


def test_age_zero_switches_the_limit_off(make_robot, client):
    robot = make_robot(max_image_age=0.0)
    client.show(robot, image(age=100_000))
    answer = client.ask(image_source=Query.LATEST)
    assert answer.error_code == 0 and answer.images[0].age > 99_999


def test_an_image_from_the_future_is_refused(make_robot, client):
    robot = make_robot()
    client.show(robot, image(age=-60))
    answer = client.ask(image_source=Query.LATEST)
    assert answer.error_code == Answer.ERROR_STALE_IMAGE
    assert 'future' in answer.error_message and 'use_sim_time' in answer.error_message


def test_an_image_without_a_stamp_is_as_old_as_its_arrival(make_robot, client):
    robot = make_robot()
    client.show(robot, image(30, stamp=0))
    answer = client.ask('see', image_source=Query.LATEST)
    assert answer.text == 'see|30|1' and answer.images[0].age < 5
    robot.set(max_image_age=0.001)
    time.sleep(0.01)
    assert client.ask(image_source=Query.LATEST).error_code == Answer.ERROR_STALE_IMAGE


def test_a_bad_camera_image_fails_the_question_not_the_node(make_robot, client):
    robot = make_robot()
    bad = image()
    bad.encoding = 'nonsense'
    client.show(robot, bad)
    assert client.ask(image_source=Query.LATEST).error_code == Answer.ERROR_BAD_IMAGE
    client.show(robot, image(30))
    assert client.ask('see', image_source=Query.LATEST).text == 'see|30|1'


def test_simulated_time_is_honoured_and_a_jump_back_drops_the_image(make_robot, client):
    robot = make_robot(use_sim_time=True)  # active although no clock has ticked yet
    clock = client.call(lambda: client.node.create_publisher(Clock, '/clock', 1))

    def tick(second):
        def told():
            client.call(lambda: clock.publish(Clock(clock=image(stamp=second * SECOND
                                                                ).header.stamp)))
            return robot.node.get_clock().now().nanoseconds == second * SECOND
        wait_until(told, 'the simulated time')

    tick(1000)
    client.show(robot, image(10, stamp=999 * SECOND))
    answer = client.ask(image_source=Query.LATEST)
    assert answer.error_code == 0 and answer.images[0].age == 1.0
    tick(10)
    assert client.ask(image_source=Query.LATEST).error_code == Answer.ERROR_NO_IMAGE
    client.show(robot, image(20, stamp=10 * SECOND))
    assert client.ask('see', image_source=Query.LATEST).text == 'see|20|1'


def test_remapped_topics_are_named_as_they_are(client):
    import rclpy
    from fakes import FakeModel

    from nanovlm_ros.ros.node import NanoVlmNode

    node = NanoVlmNode(lambda *a, **k: FakeModel(), namespace='/bot', cli_args=[
        '--ros-args', '-r', 'image:=/head/color'], parameter_overrides=[
        Parameter('autostart', value=False)])
    try:
        node.trigger_configure()
        assert [c.topic for c in node.runtime.cameras] == ['/head/color']
        node.trigger_cleanup()
    finally:
        node.destroy_node()
    assert rclpy.ok()


def test_a_connected_but_silent_camera_is_warned_of(make_robot, client):
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from sensor_msgs.msg import Image

    seen = []
    client.call(lambda: client.node.create_subscription(
        DiagnosticArray, '/diagnostics', seen.append, 10))
    robot = make_robot()
    client.call(lambda: client.node.create_publisher(Image, '/image', 1))

    def warned():
        return [s for m in seen for s in m.status
                if s.level == DiagnosticStatus.WARN and 'FASTDDS' in s.message]
    assert '/image' in wait_until(warned, 'the warning')[0].message
    client.show(robot, image())
    seen.clear()
    assert wait_until(lambda: [s for m in seen for s in m.status if 'camera' in s.name]
                      )[-1].level == DiagnosticStatus.OK
