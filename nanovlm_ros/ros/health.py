# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the node says about itself: ~/status, /diagnostics, and the watchdog."""
import os
import threading
from typing import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile

from nanovlm_ros.msg import ModelStatus
from nanovlm_ros.ros.cameras import TRANSPORT_HINT

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STUCK_EXIT_CODE = 70
LAST_WORDS = 1.0  # s for the replies of abandoned requests to go out


class Health:
    """Publishes ~/status and /diagnostics once a second, and status on every change."""

    def __init__(self, node):
        self._node = node
        self.state = 'unconfigured'
        self.stuck = ''
        self.runtime = None  # of the configured node
        self._status = node.create_publisher(ModelStatus, '~/status', LATCHED)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = node.create_timer(  # on wall time: simulated time may stand still
            1.0, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def change(self, state: str) -> None:
        """Enter a state and tell."""
        self.state = state
        self._publish_status()

    def _tick(self) -> None:
        self._publish_status()
        self._publish_diagnostics()

    def _publish_status(self) -> None:
        status = ModelStatus(state=self.state)
        status.header.stamp = self._node.get_clock().now().to_msg()
        runtime = self.runtime
        if runtime is not None:
            stats = runtime.executor.stats()
            status.model, status.device = runtime.model_name, runtime.device
            status.quantization = runtime.parameters['quantization']
            status.context_length = runtime.context_length
            for name in ('queued', 'running', 'completed', 'failed', 'tokens_per_second'):
                setattr(status, name, getattr(stats, name))
            status.live_missed = stats.live_missed + runtime.live_missed
        self._status.publish(status)

    def _publish_diagnostics(self) -> None:
        message = DiagnosticArray(status=[self._model_status(), *self._camera_statuses()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _model_status(self) -> DiagnosticStatus:
        name = self._node.get_fully_qualified_name()
        status = DiagnosticStatus(name=f'{name}: model', hardware_id='none',
                                  level=DiagnosticStatus.OK, message=self.state)
        if self.stuck:
            status.level, status.message = DiagnosticStatus.ERROR, self.stuck
        if self.runtime is not None:
            status.hardware_id = self.runtime.device
            stats = self.runtime.executor.stats()
            status.values = [KeyValue(key=key, value=f'{value:g}')
                             for key, value in vars(stats).items()]
        return status

    def _camera_statuses(self):
        for camera in self.runtime.cameras if self.runtime is not None else ():
            status = DiagnosticStatus(
                name=f'{self._node.get_fully_qualified_name()}: camera {camera.topic}',
                level=DiagnosticStatus.OK, message=f'{camera.received} images',
                values=[KeyValue(key='received', value=str(camera.received))])
            if camera.silent():
                status.level = DiagnosticStatus.WARN
                status.message = (f'{camera.topic} has a publisher, but no image comes; '
                                  f'{TRANSPORT_HINT}.')
                self._node.get_logger().warning(status.message, throttle_duration_sec=10.0)
            yield status


class Watchdog:
    """A thread that ends the process when an inference step is stuck.

    Nothing can interrupt a step: so what waits is failed, and a launch file with
    `respawn` starts the node anew. `die` is called with the exit code.
    """

    def __init__(self, executor, health: Health, timeout: float, log,
                 die: Callable[[int], None] = os._exit):
        self._executor, self._health, self._timeout = executor, health, timeout
        self._log, self._die = log, die
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(min(self._timeout / 4, 1.0)):
            stuck = self._executor.stats().stuck_for
            if stuck > self._timeout:
                message = (f'An inference step has been stuck for {stuck:.1f} s (parameter '
                           f'watchdog_timeout is {self._timeout:g} s).')
                self._health.stuck = message
                self._log.fatal(message + ' The process ends now; respawn it.')
                self._executor.abandon(message)
                self._stop.wait(LAST_WORDS)
                self._die(STUCK_EXIT_CODE)
                return
