# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""~/overlay: the newest image of the first camera with the last answer written over it."""
import array
import threading

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image

from nanovlm_ros.imaging import draw
from nanovlm_ros.ros.cameras import Camera
from nanovlm_ros.ros.conversions import header
from nanovlm_ros.types import Answer, NanoVlmError

RATE = 5.0  # Hz; people look at it


class Overlay:
    """Draws only while somebody subscribes."""

    def __init__(self, node, camera: Camera, max_pixels: int):
        self._node, self._camera, self._max_pixels = node, camera, max_pixels
        self._lock = threading.Lock()
        self._lines = []
        self._shown = None
        self._publisher = node.create_publisher(Image, '~/overlay', 1)
        self._timer = node.create_timer(
            1 / RATE, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """Stop drawing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def on_answer(self, answer: Answer) -> None:
        """Remember what to write; called on the executor's thread."""
        with self._lock:
            self._lines = [answer.prompt, answer.text or answer.error_message]

    def _tick(self) -> None:
        if not self._publisher.get_subscription_count():
            return
        try:
            frame = self._camera.frame(self._max_pixels)
            with self._lock:
                lines = list(self._lines)
            if frame is None or (frame, lines) == self._shown:
                return
            self._shown = (frame, lines)
            picture = draw(frame.rgb, lines)
        except NanoVlmError as error:
            self._node.get_logger().warning(error.message, throttle_duration_sec=10.0)
            return
        message = Image(header=header(frame.stamp_ns, frame.frame_id), encoding='rgb8',
                        height=picture.shape[0], width=picture.shape[1],
                        step=picture.shape[1] * 3)
        message.data = array.array('B', picture.tobytes())
        self._publisher.publish(message)
