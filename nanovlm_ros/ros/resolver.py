# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From a Query message to a query for the engine: images chosen, defaults filled in."""
import time
from typing import List, Tuple

from nanovlm_ros import msg
from nanovlm_ros.ros.cameras import Cameras
from nanovlm_ros.ros.cancellation import Cancellation
from nanovlm_ros.ros.conversions import (
    SECOND, compressed_frame, generation_config, raw_frame, seconds)
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.types import ErrorCode, Frame, ImageSource, NanoVlmError, Query


class Resolver:
    """Reads parameters and cameras; everything wrong is a NanoVlmError."""

    def __init__(self, node, parameters: Parameters, cameras: Cameras):
        self._node, self._parameters, self._cameras = node, parameters, cameras

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
        images = await self._images(query, deadline, cancellation)
        return Query(
            request_id=query.request_id, prompt=query.prompt,
            frames=tuple(frame for frame, _ in images),
            image_ages=tuple(age for _, age in images),
            system_prompt=query.system_prompt or self._parameters['system_prompt'],
            json_schema=query.json_schema, keep_history=query.keep_history, deadline=deadline,
            stream_period=self._parameters['stream.period'],
            config=generation_config(query.config, self._parameters.generation()))

    async def _images(self, query: msg.Query, deadline: float, cancellation: Cancellation
                      ) -> List[Tuple[Frame, float]]:
        source, inline = query.image_source, len(query.images) + len(query.compressed_images)
        if query.images and query.compressed_images:
            raise _invalid('The query brings both images and compressed_images; send one kind.')
        if inline and source != ImageSource.INLINE:
            raise _invalid(f'The query brings images but its image_source is {source}; set it '
                           'to INLINE, or leave the images out.')
        if source == ImageSource.NONE:
            return []
        if source == ImageSource.INLINE:
            return self._inline(query)
        if source == ImageSource.WINDOW:
            raise _invalid('Multi-frame windows (image_source WINDOW) are not available in this '
                           'version; send several images with INLINE.')
        if source not in (ImageSource.LATEST, ImageSource.NEXT):
            raise _invalid(f'image_source is {source}; use NONE, LATEST, NEXT or INLINE.')
        return await self._from_cameras(query, deadline, cancellation)

    async def _from_cameras(self, query, deadline, cancellation) -> List[Tuple[Frame, float]]:
        max_age = seconds(query.max_image_age) or self._parameters['max_image_age']
        images = []
        for camera in self._cameras.pick(query.cameras):
            if query.image_source == ImageSource.NEXT:
                arrived = await camera.next(deadline - time.monotonic(), cancellation)
                if cancellation.requested:
                    raise NanoVlmError(ErrorCode.CANCELED, 'The request was canceled.')
                if not arrived:
                    raise NanoVlmError(ErrorCode.NO_IMAGE,
                                       f'No new image came on {camera.topic} before the deadline.')
            frame = self._cameras.latest(camera, max_age, self._parameters['max_image_pixels'])
            images.append((frame, self._cameras.age(camera, frame)))
        return images

    def _inline(self, query) -> List[Tuple[Frame, float]]:
        limit, now = self._parameters['max_image_pixels'], self._node.get_clock().now().nanoseconds
        frames = [raw_frame(image, '', limit) for image in query.images]
        frames += [compressed_frame(image, '', limit) for image in query.compressed_images]
        if not frames:
            raise NanoVlmError(ErrorCode.NO_IMAGE,
                               'image_source is INLINE but the query brings no image.')
        return [(f, (now - f.stamp_ns) / SECOND if f.stamp_ns else 0.0) for f in frames]


def _invalid(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)
