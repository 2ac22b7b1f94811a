# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From a Query message to a query for the engine: images chosen, defaults filled in."""
import time
from dataclasses import dataclass
from typing import Tuple

from nanovlm_ros import msg
from nanovlm_ros.imaging import SECOND, compressed_frame, raw_frame
from nanovlm_ros.ros.cameras import Camera, Cameras
from nanovlm_ros.ros.cancellation import Cancellation
from nanovlm_ros.ros.conversions import generation_config, seconds
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.ros.windows import Windows
from nanovlm_ros.types import ErrorCode, Frame, ImageSource, NanoVlmError, Query


@dataclass(frozen=True)
class Picked:
    """Images for a query, in the order the model sees them."""

    frames: Tuple[Frame, ...] = ()
    ages: Tuple[float, ...] = ()  # s, one a frame
    generation: int = 0           # of the rolling window that holds the frames; 0: none


class Resolver:
    """Reads parameters, cameras and windows; everything wrong is a NanoVlmError."""

    def __init__(self, node, parameters: Parameters, cameras: Cameras, windows: Windows):
        self._node, self._parameters = node, parameters
        self._cameras, self._windows = cameras, windows

    def deadline(self, query: msg.Query, limit: float) -> float:
        """Return time.monotonic() at the end of a request; a query may only shorten the limit."""
        asked = seconds(query.timeout)
        return time.monotonic() + (min(asked, limit) if asked > 0 else limit)

    async def resolve(self, query: msg.Query, deadline: float,
                      cancellation: Cancellation) -> Query:
        """Return the engine's query; waits for the images of NEXT until the deadline."""
        for name in ('timeout', 'max_image_age'):
            if seconds(getattr(query, name)) < 0:
                raise _invalid(f'{name} is {seconds(getattr(query, name)):g} s; it must be 0 '
                               '(as the node has it) or more.')
        picked = await self._images(query, deadline, cancellation)
        return Query(
            request_id=query.request_id, prompt=query.prompt, frames=picked.frames,
            image_ages=picked.ages, generation=picked.generation,
            system_prompt=query.system_prompt or self._parameters['system_prompt'],
            json_schema=query.json_schema, keep_history=query.keep_history, deadline=deadline,
            stream_period=self._parameters['stream.period'],
            config=generation_config(query.config, self._parameters.generation()))

    async def _images(self, query: msg.Query, deadline: float, cancellation: Cancellation
                      ) -> Picked:
        source, inline = query.image_source, len(query.images) + len(query.compressed_images)
        if query.images and query.compressed_images:
            raise _invalid('The query brings both images and compressed_images; send one kind.')
        if inline and source != ImageSource.INLINE:
            raise _invalid(f'The query brings images but its image_source is {source}; set it '
                           'to INLINE, or leave the images out.')
        if source == ImageSource.NONE:
            return Picked()
        if source == ImageSource.INLINE:
            return self._inline(query)
        if source == ImageSource.NEXT:
            for camera in self._cameras.pick(query.cameras):
                await self._next(camera, deadline, cancellation)
        return self.pick(query)

    async def _next(self, camera: Camera, deadline: float, cancellation: Cancellation) -> None:
        arrived = await camera.next(deadline - time.monotonic(), cancellation)
        if cancellation.requested:
            raise NanoVlmError(ErrorCode.CANCELED, 'The request was canceled.')
        if not arrived:
            raise NanoVlmError(ErrorCode.NO_IMAGE,
                               f'No new image came on {camera.topic} before the deadline.')

    def pick(self, query: msg.Query) -> Picked:
        """Return the images of the cameras that are there now: the newest ones, or a window."""
        if query.image_source == ImageSource.WINDOW:
            return self._window(query)
        if query.image_source not in (ImageSource.LATEST, ImageSource.NEXT):
            raise _invalid(f'image_source is {query.image_source}; use NONE, LATEST, NEXT, '
                           'WINDOW or INLINE.')
        max_age, max_pixels = self._max_age(query), self._parameters['max_image_pixels']
        cameras = self._cameras.pick(query.cameras)
        frames = [self._cameras.latest(camera, max_age, max_pixels) for camera in cameras]
        return Picked(tuple(frames), tuple(map(self._cameras.age, cameras, frames)))

    def _max_age(self, query: msg.Query) -> float:
        return seconds(query.max_image_age) or self._parameters['max_image_age']

    def _window(self, query: msg.Query) -> Picked:
        if len(query.cameras) > 1:
            raise _invalid(f'A window is of one camera, and the query names '
                           f'{len(query.cameras)}; ask about one at a time.')
        camera, = self._cameras.pick(query.cameras)
        generation, frames = self._windows.pick(camera, query.window_frames)
        max_age = self._max_age(query)
        # The newest frame of a window that runs may be as old as the next one is away.
        self._cameras.check_age(
            camera, frames[-1], max_age and max_age + self._parameters['window.period'])
        ages = tuple(self._cameras.age(camera, frame) for frame in frames)
        return Picked(frames, ages, generation)

    def _inline(self, query) -> Picked:
        limit, now = self._parameters['max_image_pixels'], self._node.get_clock().now().nanoseconds
        frames = [raw_frame(image, '', limit) for image in query.images]
        frames += [compressed_frame(image, '', limit) for image in query.compressed_images]
        if not frames:
            raise NanoVlmError(ErrorCode.NO_IMAGE,
                               'image_source is INLINE but the query brings no image.')
        return Picked(tuple(frames), tuple(
            (now - f.stamp_ns) / SECOND if f.stamp_ns else 0.0 for f in frames))


def _invalid(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)
