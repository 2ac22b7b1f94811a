# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The live loop: the live prompts about the newest image, as fast as the rate and model allow."""
import time
import uuid
from collections import deque
from typing import Optional

from nanovlm_ros.ros.cameras import Cameras
from nanovlm_ros.ros.gateway import Gateway
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.types import Frame, NanoVlmError, Query


class LiveLoop:
    """At each tick the prompts of the tick are asked one after another about one frame.

    A tick that comes before the last one is through is missed, and counted; the
    next tick takes the newest frame. Queries of other clients go first.
    """

    def __init__(self, node, parameters: Parameters, cameras: Cameras, gateway: Gateway):
        self._node, self._parameters = node, parameters
        self._cameras, self._gateway = cameras, gateway
        self._pending: 'deque[str]' = deque()
        self._frame: Optional[Frame] = None
        self._age = 0.0
        self._in_flight = False
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
        if self._in_flight:
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
        if frame is self._frame:  # asked about already
            return
        self._frame, self._age = frame, self._cameras.age(camera, frame)
        self._pending = deque(prompts)
        self._next()

    def _next(self) -> None:
        """Ask the next prompt of this tick; on the ROS thread first, then on the executor's."""
        self._in_flight = False
        while self._pending and not self._closed:
            query = Query(
                request_id=f'live-{uuid.uuid4().hex[:12]}', prompt=self._pending.popleft(),
                frames=(self._frame,), image_ages=(self._age,),
                system_prompt=self._parameters['system_prompt'],
                json_schema=self._parameters['live.json_schema'],
                deadline=time.monotonic() + self._parameters['generate_timeout'],
                stream_period=self._parameters['stream.period'],
                config=self._parameters.generation())
            try:
                self._in_flight = True
                self._gateway.submit(query, lambda answer: self._next(), live=True)
                return
            except NanoVlmError as error:
                self._in_flight = False
                self._node.get_logger().error(
                    f'A live prompt was refused: {error.message}', throttle_duration_sec=10.0)
