# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The multi-frame windows of the cameras: sampled as images arrive, kept up by the executor."""
from functools import partial
from typing import Dict, Sequence, Tuple

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.window import FrameWindow, Generation
from nanovlm_ros.ros.cameras import Camera, Cameras
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.types import ErrorCode, NanoVlmError


QUESTION = 32  # rows that are to be left for a question and its answer


def check_windows(parameters: Parameters, model, log) -> None:
    """Raise INVALID_REQUEST when no question about a full window fits the model.

    Warns through `log` when the windows of all cameras do not fit the KV cache together.
    """
    if not parameters['window.enabled']:
        return
    frames, cameras = parameters['window.frames'], max(1, len(parameters['cameras']))
    rows = model.layout(parameters['system_prompt']).end(frames)
    if frames > model.max_images or rows + QUESTION > model.context_length:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'window.frames is {frames}, which takes {rows} tokens, but {model.name} has a '
            f'context of {model.context_length} tokens and takes at most {model.max_images} '
            'images; set window.frames lower, raise context_length, or switch window.enabled off.')
    if parameters['window.mode'] == 'exact' and cameras * frames > model.max_frames:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{cameras} exact windows of {frames} frames are {cameras * frames} frames, and the '
            f'embeddings of {model.max_frames} are kept; set window.frames lower, or window.mode '
            'to rolling.')
    held = 2 * rows * cameras  # a window has two generations
    if parameters['window.mode'] == 'rolling' and 2 * rows > model.cache_rows:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'A rolling window of {frames} frames takes up to {2 * rows} rows of the KV cache, '
            f'which has {model.cache_rows}; set window.frames lower, kv_cache_tokens to '
            f'{2 * rows + model.context_length}, or window.mode to exact.')
    room = model.cache_rows - model.context_length  # of which questions take one
    if parameters['window.mode'] == 'rolling' and held > room:
        log.warning(
            f'The windows of {cameras} cameras take up to {held} rows of the KV cache, beside '
            f'which {room} are for questions: they will give way to each other and be computed '
            'anew. Set window.frames lower, or kv_cache_tokens to '
            f'{held + model.context_length}.')


class Windows:
    """One window a camera, while `window.enabled`."""

    def __init__(self, node, parameters: Parameters, cameras: Cameras, executor: MlcExecutor):
        self._node, self._parameters, self._executor = node, parameters, executor
        self.enabled, self._rolling = parameters['window.enabled'], False
        self._active = False
        self._windows: Dict[str, Tuple[Camera, FrameWindow]] = {}
        if not self.enabled:
            return
        self._rolling = parameters['window.mode'] == 'rolling'
        for camera in cameras:
            window = FrameWindow(
                parameters['window.frames'], parameters['window.period'],
                parameters['window.max_rolls'] if self._rolling else None)
            self._windows[camera.name] = camera, window
            camera.on_image = partial(self._on_image, camera, window)

    def pick(self, camera: Camera, count: int) -> Generation:
        """Return the newest frames of a camera's window, at most `count` (0: all there are).

        The number is 0 where these are not the whole of a rolling window. Raises
        INVALID_REQUEST and NO_IMAGE.
        """
        if not self.enabled:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               'image_source is WINDOW, but windows are switched off; set the '
                               'parameter window.enabled and configure the node again.')
        _, window = self._windows[camera.name]
        if count > window.frames:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'window_frames is {count}, but the window holds at most '
                               f'{window.frames} (parameter window.frames).')
        frames = window.last(count)
        if not frames:
            raise NanoVlmError(ErrorCode.NO_IMAGE,
                               f'The window of {camera.topic} is empty: no image has come yet. '
                               'Start the camera or remap the topic.')
        number, held = window.generations()[0]
        return (number if self._rolling and held == frames else 0), frames

    def activate(self) -> None:
        """Let the executor work for the windows."""
        self._active = True
        for camera, window in self._windows.values():
            self._watch(camera, window.generations())

    def deactivate(self) -> None:
        """Go on sampling, which costs nothing; the executor rests."""
        self._active = False

    def clear(self) -> None:
        """Forget every frame, in the KV cache, too."""
        for camera, window in self._windows.values():
            window.clear()
            self._watch(camera, ())

    def _on_image(self, camera: Camera, window: FrameWindow) -> None:
        if not window.due(camera.time_ns):
            return
        try:
            frame = camera.frame(self._parameters['max_image_pixels'])
        except NanoVlmError as error:
            self._node.get_logger().warning(
                f'An image did not join the window of {camera.topic}: {error.message}',
                throttle_duration_sec=10.0)
            return
        window.add(frame, frame.time_ns)
        if self._active:
            self._watch(camera, window.generations())

    def _watch(self, camera: Camera, generations: Sequence[Generation]) -> None:
        try:
            self._executor.watch(
                camera.name, generations, self._rolling, self._parameters['system_prompt'])
        except NanoVlmError as error:  # it takes no more: it has no rows, either
            self._node.get_logger().warning(
                f'The window of {camera.topic} is not prepared: {error.message}',
                throttle_duration_sec=10.0)
