# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The multi-frame windows of the cameras: sampled as images arrive, kept up by the executor."""
from functools import partial
from typing import Dict

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.window import FrameWindow, Generation
from nanovlm_ros.ros.cameras import Camera, Cameras
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.types import ErrorCode, NanoVlmError


def check_windows(parameters: Parameters, model) -> None:
    """Raise INVALID_REQUEST when the model cannot take as many images as a window holds."""
    frames = parameters['window.frames']
    if parameters['window.enabled'] and frames > model.max_images:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'window.frames is {frames}, but {model.name} takes at most {model.max_images} '
            f'images in its context of {model.context_length} tokens; set it to that or less, '
            'or switch window.enabled off.')


class Windows:
    """One window a camera, while `window.enabled`."""

    def __init__(self, node, parameters: Parameters, cameras: Cameras, executor: MlcExecutor):
        self._node, self._parameters, self._executor = node, parameters, executor
        self.enabled, self._rolling = parameters['window.enabled'], False
        self._windows: Dict[str, FrameWindow] = {}
        if not self.enabled:
            return
        self._rolling = parameters['window.mode'] == 'rolling'
        for camera in cameras:
            self._windows[camera.name] = FrameWindow(
                parameters['window.frames'], parameters['window.period'],
                parameters['window.max_rolls'] if self._rolling else None)
            camera.on_image = partial(self._on_image, camera)

    def pick(self, camera: Camera, count: int) -> Generation:
        """Return the newest frames of a camera's window, at most `count` (0: all there are).

        The number is 0 where these are not the whole of a rolling window. Raises
        INVALID_REQUEST and NO_IMAGE.
        """
        if not self.enabled:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               'image_source is WINDOW, but windows are switched off; set the '
                               'parameter window.enabled and configure the node again.')
        window = self._windows[camera.name]
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

    def clear(self) -> None:
        """Forget every frame, in the KV cache, too."""
        for name, window in self._windows.items():
            window.clear()
            self._executor.watch(name, ())

    def _on_image(self, camera: Camera, now_ns: int) -> None:
        window = self._windows[camera.name]
        stamp = camera.stamp_ns or now_ns
        if not window.due(stamp):
            return
        try:
            window.add(camera.frame(self._parameters['max_image_pixels']), stamp)
            self._executor.watch(camera.name, window.generations(), self._rolling)
        except NanoVlmError as error:
            self._node.get_logger().warning(
                f'An image did not join the window of {camera.topic}: {error.message}',
                throttle_duration_sec=10.0)
