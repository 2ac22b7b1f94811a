# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of the topics: their types and QoS, the source's header, status, diagnostics."""
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fakes import FakeModel
from harness import compressed, image, wait_until, whole
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from nanovlm_ros.msg import Answer, ModelStatus, Query

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
LATCH = QoSProfile(depth=1, durability=LATCHED)


def listen(client, kind, topic, qos=10):
    heard = []
    client.call(lambda: client.node.create_subscription(kind, topic, heard.append, qos))
    return heard


def last(heard, what, condition):
    """Wait for a message with a property and return it."""
    return wait_until(lambda: next((m for m in reversed(heard) if condition(m)), None), what)


def test_every_topic_has_its_type_and_its_quality_of_service(make_robot, client):
    robot = make_robot(FakeModel())
    promised = {
        '/nanovlm/stream': ('nanovlm_ros/msg/TextChunk', RELIABLE, VOLATILE),
        '/nanovlm/answers': ('nanovlm_ros/msg/Answer', RELIABLE, VOLATILE),
        '/nanovlm/status': ('nanovlm_ros/msg/ModelStatus', RELIABLE, LATCHED),
        '/nanovlm/overlay': ('sensor_msgs/msg/Image', RELIABLE, VOLATILE),
        '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', RELIABLE, VOLATILE)}
    for topic, (kind, reliability, durability) in promised.items():
        found, = wait_until(lambda: client.node.get_publishers_info_by_topic(topic), topic)
        assert (found.topic_type, found.qos_profile.reliability, found.qos_profile.durability) == (
            kind, reliability, durability), topic
    assert robot.state == 'active'


@pytest.mark.parametrize('parameters, topics, kind', [
    ({}, ['/image'], 'sensor_msgs/msg/Image'),
    ({'compressed': True}, ['/image/compressed'], 'sensor_msgs/msg/CompressedImage'),
    ({'cameras': ['left', 'right']}, ['/left/image', '/right/image'], 'sensor_msgs/msg/Image')])
def test_images_are_taken_best_effort_and_only_the_newest(make_robot, client, parameters, topics,
                                                          kind):
    robot = make_robot(**parameters)
    assert [camera.topic for camera in robot.node.runtime.cameras] == topics
    for topic in topics:
        found, = wait_until(lambda: client.node.get_subscriptions_info_by_topic(topic), topic)
        qos = found.qos_profile
        assert (found.topic_type, qos.reliability, qos.durability) == (kind, BEST_EFFORT, VOLATILE)
    # DDS does not tell the depth to others: ask the node itself.
    for camera in robot.node.runtime.cameras:
        qos = camera._subscription.qos_profile
        assert (qos.history, qos.depth) == (HistoryPolicy.KEEP_LAST, 1)


def test_the_stream_keeps_a_long_burst(make_robot, client):
    robot = make_robot(FakeModel(lambda turns: ' ' + 'a' * 90), stream__period=0.0)
    client.heard(robot)
    client.ask(request_id='burst')
    last(client.stream, 'the last chunk', lambda c: c.done)
    assert len(whole(client.stream)) == 90 and len(client.stream) > 80


@pytest.mark.parametrize('camera, sent, source', [
    ('', image(50, frame_id='arm'), Query.LATEST),
    ('', image(50, frame_id='arm'), Query.NEXT),
    ('left', image(50, frame_id='arm'), Query.LATEST),
    ('', compressed(50, frame_id='arm'), Query.LATEST),
    ('', compressed(50, frame_id='arm'), Query.NEXT)])
def test_stamp_frame_and_camera_of_a_camera_image_reach_answer_and_chunks(
        make_robot, client, camera, sent, source):
    packed = not isinstance(sent, Image)
    robot = make_robot(compressed=packed, cameras=[camera], max_image_age=0.0)
    topic = f'/{camera}/image'.replace('//', '/') + '/compressed' * packed
    client.heard(robot)
    if source == Query.LATEST:
        client.show(robot, sent, topic)
        reply = client.ask_later('see', request_id='h', image_source=source)
    else:
        reply = client.ask_later('see', request_id='h', image_source=source)
        wait_until(lambda: next(iter(robot.node.runtime.cameras))._waiters, 'waiting')
        client.show(robot, sent, topic)
    answer = reply().answer
    assert answer.text == 'see|50|1' and answer.header == sent.header
    assert [(i.header, i.camera, i.width, i.height) for i in answer.images] == [
        (sent.header, camera, 8, 6)]
    last(client.stream, 'the last chunk', lambda c: c.done)
    assert all(chunk.header == sent.header for chunk in client.stream)


def test_a_question_without_an_image_has_an_empty_header(make_robot, client):
    client.heard(make_robot())
    answer = client.ask()
    assert (answer.header.stamp.sec, answer.header.frame_id, answer.images) == (0, '', [])


def test_the_overlay_has_the_header_of_its_image_and_something_written(make_robot, client):
    robot = make_robot()
    sent = image(200, width=320, height=240, frame_id='arm')
    client.show(robot, sent)
    client.ask('What is there?', image_source=Query.LATEST)
    drawn = last(listen(client, Image, '/nanovlm/overlay'), 'the overlay', lambda m: True)
    assert drawn.header == sent.header
    assert (drawn.width, drawn.height, drawn.step, drawn.encoding) == (320, 240, 960, 'rgb8')
    assert drawn.data[:960] == sent.data[:960] and drawn.data[-960:] != sent.data[-960:]


def test_nothing_is_drawn_while_nobody_looks(make_robot, client, monkeypatch):
    from nanovlm_ros.ros import overlay

    drawn, ticked = [], []
    real = overlay.draw
    monkeypatch.setattr(overlay, 'draw', lambda *a: drawn.append(1) or real(*a))
    robot = make_robot()
    publisher = robot.node.runtime.overlay._publisher
    count = publisher.get_subscription_count
    monkeypatch.setattr(publisher, 'get_subscription_count',
                        lambda: ticked.append(1) or count())
    client.show(robot, image())
    wait_until(lambda: len(ticked) >= 3, 'three turns of the overlay')
    assert not drawn
    listen(client, Image, '/nanovlm/overlay')
    wait_until(lambda: drawn, 'a picture')


def test_status_tells_every_state_at_once_and_to_those_who_come_late(make_robot, client):
    heard = listen(client, ModelStatus, '/nanovlm/status', QoSProfile(
        depth=100, durability=LATCHED))
    robot = make_robot(autostart=False)
    for name, state in (('configure', 'inactive'), ('activate', 'active'),
                        ('deactivate', 'inactive'), ('cleanup', 'unconfigured')):
        robot.call(getattr(robot.node, f'trigger_{name}'))
        assert robot.state == state
    wait_until(lambda: len({m.state for m in heard}) == 3 and heard[-1].state == robot.state,
               'the states')
    order = [m.state for i, m in enumerate(heard) if i == 0 or heard[i - 1].state != m.state]
    assert order[-4:] == ['inactive', 'active', 'inactive', 'unconfigured']
    robot.node.health._timer.cancel()  # from now on only the latch tells
    late = last(listen(client, ModelStatus, '/nanovlm/status', LATCH), 'the latched status',
                lambda m: True)
    assert late.state == 'unconfigured' and late.model == ''


def test_status_counts_what_waits_runs_ends_and_fails(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold, context_length=500), max_sequences=1,
                       quantization='q0f32')
    heard = listen(client, ModelStatus, '/nanovlm/status', LATCH)
    replies = [client.ask_later('a' * 10)]
    assert hold.reached.wait(20)
    replies.append(client.ask_later('b'))
    busy = last(heard, 'a busy status', lambda m: m.running == 1 and m.queued == 1)
    assert (busy.state, busy.model, busy.device, busy.quantization, busy.context_length) == (
        'active', 'fake', 'cpu', 'q0f32', 500)
    assert busy.header.stamp.sec > 0
    hold.open.set()
    assert all(r().answer.error_code == 0 for r in replies)
    robot.model.before = lambda stage: 1 / 0
    assert client.ask().error_code == Answer.ERROR_MODEL_ERROR
    done = last(heard, 'an idle status', lambda m: m.failed == 1)
    assert (done.completed, done.queued, done.running) == (2, 0, 0)
    assert done.tokens_per_second > 0


def test_diagnostics_tell_the_model_and_each_camera(make_robot, client):
    robot = make_robot(cameras=['left', 'right'])
    heard = listen(client, DiagnosticArray, '/diagnostics')
    client.show(robot, image(), '/left/image')
    message = last(heard, 'diagnostics', lambda m: any(
        'left' in s.name and s.message != '0 images' for s in m.status))
    assert [s.name for s in message.status] == [
        '/nanovlm: model', '/nanovlm: camera /left/image', '/nanovlm: camera /right/image']
    model, left, right = message.status
    assert (model.level, model.message, model.hardware_id) == (
        DiagnosticStatus.OK, 'active', 'cpu')
    values = {value.key: value.value for value in model.values}
    assert {'queued', 'running', 'completed', 'failed', 'live_missed', 'stuck_for'} <= set(values)
    assert int(left.values[0].value) >= 1
    # Nobody publishes on the right one, so there is nothing to warn of.
    assert (right.level, right.message) == (DiagnosticStatus.OK, '0 images')
    assert message.header.stamp.sec > 0


def test_a_stuck_step_is_an_error_in_the_diagnostics(make_robot, client, gate):
    hold = gate('decode')
    robot = make_robot(FakeModel(before=hold), watchdog_timeout=0.5)
    robot.node.runtime.watchdog._die = lambda code: None
    heard = listen(client, DiagnosticArray, '/diagnostics')
    client.ask_later('one')
    assert hold.reached.wait(20)
    error = last(heard, 'the error', lambda m: m.status[0].level == DiagnosticStatus.ERROR)
    assert 'stuck' in error.status[0].message and 'watchdog_timeout' in error.status[0].message
