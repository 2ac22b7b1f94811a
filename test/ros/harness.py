# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the node are made of: a robot, a client, a camera, a gate."""
import array
import threading
import time

import numpy as np
from builtin_interfaces.msg import Duration, Time
from fakes import FakeModel
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from nanovlm_ros import msg
from nanovlm_ros.action import Generate
from nanovlm_ros.ros.node import NanoVlmNode
from nanovlm_ros.srv import Ask, SetPrompts

PATIENCE = 20.0  # s; only a hang takes so long
SECOND = 1_000_000_000


def wait_until(condition, what='it', patience=PATIENCE):
    """Wait for a condition of another thread or process, and return its value."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f'{what} did not happen in {patience} s')


class Spun:
    """A node that a thread of its own spins."""

    def __init__(self, node):
        self.node = node
        self.errors = []
        self._stop = threading.Event()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        while not self._stop.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except Exception as error:  # it would have ended the real process
                self.errors.append(error)

    def call(self, function):
        """Run a function on the spinning thread and return its result."""
        done, box = threading.Event(), []

        def work():
            try:
                box.append((function(), None))
            except Exception as error:
                box.append((None, error))
            done.set()

        self._executor.create_task(work)
        assert done.wait(PATIENCE), 'the node does not spin'
        value, error = box[0]
        if error is not None:
            raise error
        return value

    def close(self):
        """Stop spinning and destroy the node."""
        self._stop.set()
        self._executor.wake()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._executor.shutdown()
        self.node.destroy_node()


class Robot(Spun):
    """The node under test, active unless `autostart` is False."""

    def __init__(self, model=None, /, **parameters):
        self.model = model or FakeModel()
        self.models = []
        parameters = {name.replace('__', '.'): value for name, value in parameters.items()}
        autostart = parameters.setdefault('autostart', True)
        node = NanoVlmNode(self._load, parameter_overrides=[
            Parameter(name, value=value) for name, value in parameters.items()])
        super().__init__(node)
        if autostart:
            try:
                wait_until(lambda: self.state == 'active', 'activation')
            except AssertionError:
                self.close()  # or it would answer in the place of the next one
                raise

    def _load(self, *arguments, **options):
        self.load_arguments = (arguments, options)
        model = self.model() if callable(self.model) else self.model
        self.models.append(model)
        return model

    @property
    def state(self):
        return self.node.health.state

    def set(self, **parameters):
        """Set parameters, `__` for a dot; return the results."""
        return self.call(lambda: self.node.set_parameters([
            Parameter(name.replace('__', '.'), value=value)
            for name, value in parameters.items()]))

    def close(self):
        try:
            self.call(self.node.finish)
        finally:
            super().close()
        assert not self.errors, self.errors


class Client(Spun):
    """Another node: asks, listens and plays the camera."""

    def __init__(self, server='/nanovlm'):
        super().__init__(Node('client', namespace='test'))
        self.server = server
        self.stream, self.answers = [], []
        self._cameras = {}
        self._clients = {}
        self.call(self._listen)

    def _listen(self):
        node = self.node
        node.create_subscription(msg.TextChunk, f'{self.server}/stream', self.stream.append, 1000)
        node.create_subscription(msg.Answer, f'{self.server}/answers', self.answers.append, 1000)
        self.action = ActionClient(
            node, Generate, f'{self.server}/generate',
            feedback_sub_qos_profile=QoSProfile(depth=1000))
        for name, kind in (('ask', Ask), ('set_prompts', SetPrompts), ('reset', Trigger),
                           ('enable', SetBool)):
            self._clients[name] = node.create_client(kind, f'{self.server}/{name}')

    def heard(self, robot):
        """Wait until the node's topics are connected to this client."""
        gateway = robot.node.gateway
        wait_until(lambda: gateway._stream.get_subscription_count()
                   and gateway._answers.get_subscription_count(), 'discovery')
        return self

    def connect(self, name, kind):
        """Make a client of another service of the node."""
        self._clients[name] = self.call(
            lambda: self.node.create_client(kind, f'{self.server}/{name}'))

    def start(self, name, request):
        """Call a service; return a future with `result()`, which waits."""
        service = self._clients[name]
        wait_until(service.service_is_ready, f'service {name}')
        return Result(self.call(lambda: service.call_async(request)))

    def ask(self, prompt='hello', **fields):
        """Ask through ~/ask and return the Answer."""
        return self.ask_later(prompt, **fields)().answer

    def ask_later(self, prompt='hello', **fields):
        return self.start('ask', Ask.Request(query=query(prompt, **fields)))

    def generate(self, prompt='hello', **fields):
        """Send a goal; return the Goal once it is accepted."""
        wait_until(self.action.server_is_ready, 'the action server')
        feedback = []
        handle = Result(self.call(lambda: self.action.send_goal_async(
            Generate.Goal(query=query(prompt, **fields)),
            feedback_callback=lambda m: feedback.append(m.feedback.chunk))))()
        assert handle.accepted
        return Goal(self, handle, feedback)

    def publish(self, image, topic='/image'):
        """Publish an image once somebody listens."""
        if topic not in self._cameras:
            self._cameras[topic] = self.call(lambda: self.node.create_publisher(
                type(image), topic, qos_profile_sensor_data))
        publisher = self._cameras[topic]
        wait_until(publisher.get_subscription_count, 'discovery of the camera')
        publisher.publish(image)

    def show(self, robot, image, topic='/image'):
        """Publish an image and wait until the node has it."""
        camera = next(c for c in robot.node.runtime.cameras if c.topic == topic)
        before = camera.received
        self.publish(image, topic)

        def came():
            if camera.received == before:  # best effort: the first may be lost
                time.sleep(0.05)
                self._cameras[topic].publish(image)
                time.sleep(0.05)
            return camera.received > before
        wait_until(came, 'the image')


class Result:
    """A future whose result is waited for by calling it."""

    def __init__(self, future):
        self._future = future

    def done(self):
        return self._future.done()

    def __call__(self):
        wait_until(self._future.done, 'the reply')
        return self._future.result()


class Goal:
    """A goal of ~/generate."""

    def __init__(self, client, handle, feedback):
        self._client, self.handle, self.feedback = client, handle, feedback
        self.result = Result(client.call(handle.get_result_async))

    def cancel(self):
        return Result(self._client.call(self.handle.cancel_goal_async))()

    def end(self):
        """Return (status, Answer)."""
        result = self.result()
        return result.status, result.result.answer


class Gate:
    """Holds the inference thread in a stage until it is opened."""

    def __init__(self, stage):
        self.stage, self.reached, self.open = stage, threading.Event(), threading.Event()

    def __call__(self, stage):
        if stage == self.stage:
            self.reached.set()
            assert self.open.wait(PATIENCE)


def query(prompt='hello', timeout=0.0, max_image_age=0.0, **fields):
    """A Query message; no image unless image_source says so."""
    config = msg.GenerationConfig(**fields.pop('config', {}))
    fields.setdefault('image_source', msg.Query.NONE)
    return msg.Query(prompt=prompt, timeout=duration(timeout), config=config,
                     max_image_age=duration(max_image_age), **fields)


def duration(seconds):
    nanoseconds = round(seconds * SECOND)
    return Duration(sec=nanoseconds // SECOND, nanosec=nanoseconds % SECOND)


def image(value=100, *, width=8, height=6, age=0.0, stamp=None, frame_id='eye'):
    """A gray rgb8 Image message that is `age` s old; `stamp` overrides, in ns."""
    message = Image(height=height, width=width, encoding='rgb8', step=width * 3)
    message.data = array.array('B', bytes([value]) * (width * 3 * height))
    ns = round(time.time() * SECOND - age * SECOND) if stamp is None else stamp
    message.header.stamp = Time(sec=ns // SECOND, nanosec=ns % SECOND)
    message.header.frame_id = frame_id
    return message


def compressed(value=100, *, kind='.png', width=8, height=6, frame_id='eye'):
    """A gray CompressedImage message of now."""
    import cv2

    data = cv2.imencode(kind, np.full((height, width, 3), value, np.uint8))[1]
    message = CompressedImage(format=kind[1:], data=array.array('B', data.tobytes()))
    message.header = image(frame_id=frame_id).header
    return message


def long_reply(turns):
    """A reply of many steps, for a model that must be caught running."""
    return ' ' + 'word ' * 600


def whole(chunks):
    """Assert that a stream has no gap and one end; return its text."""
    assert [c.sequence for c in chunks] == list(range(len(chunks)))
    assert [c.done for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert ''.join(c.delta for c in chunks) == chunks[-1].text
    return chunks[-1].text
