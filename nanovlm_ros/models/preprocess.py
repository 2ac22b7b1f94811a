# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Images as the vision towers were trained to see them: resized, cropped, padded or tiled.

Every function takes uint8 RGB (height, width, 3) and returns uint8 (views, size, size, 3).
"""
from math import ceil
from typing import Sequence

import numpy as np

from nanovlm_ros.imaging import resize_bicubic
from nanovlm_ros.models.anyres import AnyRes
from nanovlm_ros.types import ErrorCode, NanoVlmError

# Pixels of a picture on its way to a square. Images of robots do not come near it (a line-scan
# camera has lines of 16384 pixels); one of 1 x 50,000,000 would be a square of 7500 TB.
_MOST_PIXELS = 16384 ** 2
_BAND = 256  # lines that are padded and resized at a time
_BLACK = (0, 0, 0)


def resize(rgb: np.ndarray, size: int) -> np.ndarray:
    """Scale to a square; what was round is so no more."""
    return resize_bicubic(rgb, size)[None]


def crop(rgb: np.ndarray, size: int) -> np.ndarray:
    """Scale the shorter side to `size` and take the middle of the longer one.

    Raises NanoVlmError(BAD_IMAGE) for a strip that would become too long.
    """
    height, width = rgb.shape[:2]
    long = int(size * max(height, width) / min(height, width))
    if size * long > _MOST_PIXELS:
        raise NanoVlmError(
            ErrorCode.BAD_IMAGE,
            f'The image is {width} x {height} pixels; it is too long for its middle to be cut '
            'out, as this model wants it. Cut it.')
    wide, high = (long, size) if width > height else (size, long)
    left, top = (wide - size) // 2, (high - size) // 2
    return resize_bicubic(rgb, wide, high)[top:top + size, left:left + size][None]


def pad(rgb: np.ndarray, size: int, mean: Sequence[float]) -> np.ndarray:
    """Put the image in the middle of a square of its mean colour, in 0..1, and scale that.

    Raises NanoVlmError(BAD_IMAGE) for a strip so long that its square is out of reach.
    """
    height, width = rgb.shape[:2]
    side = max(width, height)
    if side * max(height, size) > _MOST_PIXELS:
        raise NanoVlmError(
            ErrorCode.BAD_IMAGE,
            f'The image is {width} x {height} pixels; it is too long to be padded to a square, '
            'as this model wants it. Scale it down, or cut it.')
    colour = tuple(int(255 * m) for m in mean)
    # Across, then down, and padded in each direction only when it comes to that: the same pixels
    # as from the whole square, which PIL treats in this order, at a fraction of the work.
    bands = [resize_bicubic(_centre(band, side, len(band), colour), size, len(band))
             for band in np.split(rgb, range(_BAND, height, _BAND))]
    return resize_bicubic(_centre(np.concatenate(bands), size, side, colour), size)[None]


def tile(rgb: np.ndarray, layout: AnyRes) -> np.ndarray:
    """Return the whole image, resized, and then its tiles, line by line (see `AnyRes`)."""
    height, width = rgb.shape[:2]
    wide, tall = layout.resolution(width, height)
    across, down = wide / width, tall / height
    if across < down:
        inner = wide, min(ceil(height * across), tall)
    else:
        inner = min(ceil(width * down), wide), tall
    picture = _centre(resize_bicubic(rgb, *inner), wide, tall, _BLACK)
    size = layout.size
    tiles = picture.reshape(tall // size, size, wide // size, size, 3).swapaxes(1, 2)
    return np.concatenate([resize(rgb, size), tiles.reshape(-1, size, size, 3)])


def _centre(rgb: np.ndarray, width: int, height: int, colour: Sequence[int]) -> np.ndarray:
    """Return (height, width, 3) of one colour with the image in its middle."""
    if rgb.shape[:2] == (height, width):
        return rgb
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = colour
    top, left = (height - rgb.shape[0]) // 2, (width - rgb.shape[1]) // 2
    canvas[top:top + rgb.shape[0], left:left + rgb.shape[1]] = rgb
    return canvas
