# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The live loop: the live prompts about the newest image or window, at a rate, as work allows."""
import time
import uuid
from functools import partial
from typing import List, Sequence, Tuple

from nanovlm_ros import msg
from nanovlm_ros.engine.request import Ticket
from nanovlm_ros.ros.events import Events
from nanovlm_ros.ros.gateway import Gateway
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.ros.resolver import Picked, Resolver
from nanovlm_ros.types import ErrorCode, Frame, ImageSource, NanoVlmError, Query


class LiveLoop:
    """At each tick all prompts are asked together about one image or window.

    A tick that comes before the last one is answered is missed, and counted; the
    next one takes the newest image. Queries of other clients go first; a tick that
    waits for them as a whole gives its place to the next one.
    """

    def __init__(self, node, parameters: Parameters, resolver: Resolver, gateway: Gateway,
                 events: Events):
        self._node, self._parameters, self._resolver = node, parameters, resolver
        self._gateway, self._events = gateway, events
        self._newest: Sequence[Frame] = ()   # what was asked about last
        self._tickets: List[Ticket] = []     # of the last tick
        self.missed = 0
        self._timer = None
        self._period = 0.0
        self._asked: tuple = ()              # what events are about
        self.apply()

    def apply(self) -> None:
        """Follow the parameters; called after they changed."""
        enabled, prompts = self._parameters['live.enabled'], self._parameters['live.prompts']
        asked = (enabled, *prompts)
        if asked != self._asked:  # what was seen by other prompts, nobody looks at any more
            self._asked = asked
            self._events.reset()
            self._warn(enabled, len(prompts))
        period = 1 / self._parameters['live.rate'] if enabled else 0.0
        if period == self._period:
            return
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._timer = self._node.create_timer(period, self._tick) if period else None
        self._period = period

    def _warn(self, enabled: bool, prompts: int) -> None:
        together = self._parameters['max_sequences']
        if enabled and not prompts:
            self._node.get_logger().warning(
                'The live loop is enabled but asks nothing; set live.prompts, or call '
                '~/set_prompts.')
        elif enabled and prompts > together:
            self._node.get_logger().warning(
                f'There are {prompts} live prompts, and {together} are answered together '
                '(max_sequences); the others come after them.')

    def destroy(self) -> None:
        """Stop ticking, cancel what runs."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        for ticket in self._tickets:
            ticket.cancel()
        self._events.reset()

    def _tick(self) -> None:
        prompts = self._parameters['live.prompts']
        if not prompts:
            return
        if any(t.started for t in self._tickets) and not all(t.done for t in self._tickets):
            self.missed += 1
            return
        source = ImageSource[self._parameters['live.source'].upper()]
        try:
            picked = self._resolver.pick(msg.Query(image_source=int(source)))
        except NanoVlmError as error:
            self._node.get_logger().warning(f'The live loop has no image: {error.message}',
                                            throttle_duration_sec=10.0)
            return
        if picked.frames[-1:] == self._newest[-1:]:  # asked about already
            return
        before, self._newest = self._newest, picked.frames
        observe = partial(self._events.observe, self._events.era, picked.frames[-1].time_ns)
        try:
            tickets = self._gateway.submit_tick(
                [self._query(*asked, picked) for asked in zip(prompts, self._schemas(prompts))],
                observe)
        except NanoVlmError as error:
            self._node.get_logger().error(
                f'The live prompts were refused: {error.message}', throttle_duration_sec=10.0)
            return
        if tickets:
            self._tickets = tickets
        else:  # some of another tick runs still
            self.missed, self._newest = self.missed + 1, before

    def _schemas(self, prompts: Sequence[str]) -> Tuple[str, ...]:
        """Return a schema for each prompt: its own, the one for all, or none."""
        schemas = tuple(self._parameters['live.json_schemas'])
        if len(schemas) > 1:
            if len(schemas) != len(prompts):
                raise NanoVlmError(
                    ErrorCode.INVALID_REQUEST,
                    f'live.json_schemas has {len(schemas)} members and live.prompts '
                    f'{len(prompts)}; give one a prompt, one for all, or none.')
            return schemas
        return (*schemas, '')[:1] * len(prompts)

    def _query(self, prompt: str, schema: str, picked: Picked) -> Query:
        return Query(
            request_id=f'live-{uuid.uuid4().hex[:12]}', prompt=prompt, frames=picked.frames,
            image_ages=picked.ages, generation=picked.generation,
            system_prompt=self._parameters['system_prompt'], json_schema=schema,
            deadline=time.monotonic() + self._parameters['generate_timeout'],
            stream_period=self._parameters['stream.period'],
            config=self._parameters.generation())
