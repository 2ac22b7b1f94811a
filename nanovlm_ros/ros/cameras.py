# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The cameras: the newest message of each, turned into a Frame only when it is asked for."""
import time
from typing import Callable, Dict, List, Optional, Sequence

from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image

from nanovlm_ros.imaging import SECOND, compressed_frame, raw_frame, stamp_ns
from nanovlm_ros.ros.cancellation import Cancellation
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

FUTURE = 0.5   # s that a stamp may lie ahead of the node's clock
SILENCE = 2.0  # s without an image after which a connected camera is called silent
SENSOR_DATA_1 = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT,
                           durability=qos_profile_sensor_data.durability)
TRANSPORT_HINT = (
    'if `ros2 topic hz` sees images but the node does not, set FASTDDS_BUILTIN_TRANSPORTS='
    '"LARGE_DATA?max_msg_size=2MB&sockets_size=2MB" for both processes')


class Camera:
    """One image topic. Only a reference to the newest message is kept."""

    def __init__(self, node, name: str, compressed: bool):
        self.name = name
        self._node = node
        self._message = self._frame = None
        self._make_frame = compressed_frame if compressed else raw_frame
        self.arrived = self.created = time.monotonic()
        self.received = 0
        self._arrived_ns = 0  # by the node's clock
        self.on_image: Callable[[], None] = lambda: None  # called as one arrives
        self._waiters: List[Future] = []
        topic = (f'{name}/' if name else '') + 'image' + ('/compressed' if compressed else '')
        self._subscription = node.create_subscription(
            CompressedImage if compressed else Image, topic, self._on_message, SENSOR_DATA_1)

    @property
    def topic(self) -> str:
        """The topic, as remapped."""
        return self._subscription.topic_name

    @property
    def time_ns(self) -> int:
        """When the newest image was taken, by its stamp; without one, when it arrived."""
        return stamp_ns(self._message.header.stamp) or self._arrived_ns

    def destroy(self) -> None:
        """Unsubscribe; whoever waits for an image gets None."""
        self._wake(None)
        self._node.destroy_subscription(self._subscription)

    def frame(self, max_pixels: int) -> Optional[Frame]:
        """Return the newest image, the same Frame each time; None before the first."""
        if self._frame is None and self._message is not None:
            self._frame = self._make_frame(
                self._message, self.name, max_pixels, self._arrived_ns)
        return self._frame

    def forget(self) -> None:
        """Drop the newest image: its stamp belongs to a time that did not happen."""
        self._message = self._frame = None

    async def next(self, timeout: float, cancellation: Cancellation) -> bool:
        """Wait for an image to arrive; False when none did within `timeout` seconds."""
        future = Future(executor=self._node.executor)
        self._waiters.append(future)
        cancellation.on_cancel(lambda: future.done() or future.set_result(False))
        # Wall time: a deadline must hold while a simulated clock stands still.
        timer = self._node.create_timer(
            max(timeout, 0.001), lambda: future.done() or future.set_result(False),
            clock=Clock(clock_type=ClockType.STEADY_TIME))
        try:
            return bool(await future)
        finally:
            self._node.destroy_timer(timer)
            if future in self._waiters:
                self._waiters.remove(future)

    def silent(self) -> bool:
        """Somebody publishes, but nothing comes."""
        quiet = time.monotonic() - max(self.arrived, self.created) > SILENCE
        return quiet and self._node.count_publishers(self.topic) > 0

    def _on_message(self, message) -> None:
        self._message, self._frame = message, None
        self.arrived = time.monotonic()
        self._arrived_ns = self._node.get_clock().now().nanoseconds
        self.received += 1
        self.on_image()
        self._wake(True)

    def _wake(self, result) -> None:
        waiters, self._waiters = self._waiters, []
        for future in waiters:
            if not future.done():
                future.set_result(result)


class Cameras:
    """All cameras by name, and the rules about which image may be used."""

    def __init__(self, node, names: Sequence[str], compressed: bool):
        self._node = node
        self._cameras: Dict[str, Camera] = {
            name: Camera(node, name, compressed) for name in (names or [''])}
        self._warned_stamp = False

    def __iter__(self):
        return iter(self._cameras.values())

    @property
    def first(self) -> Camera:
        """The camera of queries that name none."""
        return next(iter(self))

    def destroy(self) -> None:
        """Unsubscribe from all."""
        for camera in self:
            camera.destroy()

    def pick(self, names: Sequence[str]) -> List[Camera]:
        """Return cameras by name, the first one for none. Raises INVALID_REQUEST."""
        for name in names:
            if name not in self._cameras:
                known = ', '.join(repr(known) for known in self._cameras)
                raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                                   f'There is no camera {name!r}; the node has {known} '
                                   '(parameter cameras).')
        return [self._cameras[name] for name in names] or [self.first]

    def latest(self, camera: Camera, max_age: float, max_pixels: int) -> Frame:
        """Return the newest image if it may be used. Raises NO_, STALE_ or BAD_IMAGE."""
        frame = camera.frame(max_pixels)
        if frame is None:
            raise NanoVlmError(ErrorCode.NO_IMAGE,
                               f'No image has come on {camera.topic} yet. Start the camera or '
                               f'remap the topic; {TRANSPORT_HINT}.')
        self.check_age(camera, frame, max_age)
        return frame

    def check_age(self, camera: Camera, frame: Frame, max_age: float) -> None:
        """Raise STALE_IMAGE when a frame is older than `max_age` s (0: any), or of the future."""
        age = self.age(camera, frame)
        if max_age and age > max_age:
            raise NanoVlmError(ErrorCode.STALE_IMAGE,
                               f'The newest image on {camera.topic} is {age:.2f} s old, and at '
                               f'most {max_age:g} s are allowed (max_image_age). Is the camera '
                               'still running?')
        if age < -FUTURE:
            raise NanoVlmError(ErrorCode.STALE_IMAGE,
                               f'The newest image on {camera.topic} is stamped {-age:.2f} s in '
                               'the future. Synchronise the clocks, or set use_sim_time on all '
                               'nodes of a simulation.')

    def age(self, camera: Camera, frame: Frame) -> float:
        """Return seconds since the stamp; since arrival where there is no stamp."""
        if not frame.stamp_ns and not self._warned_stamp:
            self._warned_stamp = True
            self._node.get_logger().warning(
                f'Images on {camera.topic} have no stamp; their age is counted from arrival.')
        return (self._node.get_clock().now().nanoseconds - frame.time_ns) / SECOND
