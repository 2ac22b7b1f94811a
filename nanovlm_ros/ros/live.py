# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The live loop: the live prompts about the newest image, as fast as the rate and model allow."""
import time
import uuid
from collections import deque
from typing import Optional, Sequence

from nanovlm_ros.ros.cameras import Cameras
from nanovlm_ros.ros.gateway import Gateway
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.types import Frame, NanoVlmError, Query


class Tick:
    """One round of the prompts about one frame."""

    def __init__(self, prompts: Sequence[str], frame: Frame, age: float):
        self.pending = deque(prompts)
        self.frame, self.age = frame, age
        self.in_flight = False
        self.started = False  # the text of its request in flight has begun


class LiveLoop:
    """At each tick the prompts of the tick are asked one after another about one frame.

    A tick that comes before the last one is through is missed, and counted; the
    next tick takes the newest frame. Queries of other clients go first; while they
    keep a tick waiting, the newest frame takes its place.
    """

    def __init__(self, node, parameters: Parameters, cameras: Cameras, gateway: Gateway,
                 executor):
        self._node, self._parameters = node, parameters
        self._cameras, self._gateway, self._executor = cameras, gateway, executor
        self._newest: Optional[Tick] = None
        self._closed = False
        self.missed = 0
        self._timer = None
        self._period = 0.0
        self.apply()

    def apply(self) -> None:
        """Follow the parameters; called after they changed."""
        period = 1 / self._parameters['live.rate'] if self._parameters['live.enabled'] else 0.0
        if period == self._period:
            return
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._timer = self._node.create_timer(period, self._tick) if period else None
        self._period = period

    def destroy(self) -> None:
        """Stop ticking."""
        self._closed = True
        if self._timer is not None:
            self._node.destroy_timer(self._timer)

    def _tick(self) -> None:
        prompts = self._parameters['live.prompts']
        if not prompts:
            return
        last = self._newest
        waits = last and not last.started and self._executor.stats().queued
        if last and last.in_flight and not waits:
            self.missed += 1
            return
        camera = self._cameras.first
        try:
            frame = self._cameras.latest(camera, self._parameters['max_image_age'],
                                         self._parameters['max_image_pixels'])
        except NanoVlmError as error:
            self._node.get_logger().warning(f'The live loop has no image: {error.message}',
                                            throttle_duration_sec=10.0)
            return
        if last and frame is last.frame:  # asked about already
            return
        self._newest = Tick(prompts, frame, self._cameras.age(camera, frame))
        self._next(self._newest)

    def _next(self, tick: Tick) -> None:
        """Ask the next prompt of this tick; on the ROS thread first, then on the executor's."""
        tick.in_flight = tick.started = False
        # A newer tick takes the place of this one.
        while tick.pending and tick is self._newest and not self._closed:
            query = Query(
                request_id=f'live-{uuid.uuid4().hex[:12]}', prompt=tick.pending.popleft(),
                frames=(tick.frame,), image_ages=(tick.age,),
                system_prompt=self._parameters['system_prompt'],
                json_schema=self._parameters['live.json_schema'],
                deadline=time.monotonic() + self._parameters['generate_timeout'],
                stream_period=self._parameters['stream.period'],
                config=self._parameters.generation())
            try:
                tick.in_flight = True
                self._gateway.submit(query, lambda answer: self._next(tick),
                                     lambda chunk: self._begin(tick), live=True)
                return
            except NanoVlmError as error:
                tick.in_flight = False
                self._node.get_logger().error(
                    f'A live prompt was refused: {error.message}', throttle_duration_sec=10.0)

    @staticmethod
    def _begin(tick: Tick) -> None:
        tick.started = True
