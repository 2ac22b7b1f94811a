# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws the face of a sign, and knows where each of its characters is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.world.palette import SIGN_COLOURS
from training.world.scene import Sign

_FONTS = sorted((Path(__file__).parent.parent / 'fonts').glob('*.ttf'))
_SIZE = 40


@lru_cache(None)
def _font(index: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONTS[index % len(_FONTS)]), _SIZE)


@lru_cache(20000)
def _line(text: str, index: int) -> tuple[np.ndarray, tuple[float, ...]]:
    """A line's mask and the middle of each character as a fraction of its width."""
    font = _font(index)
    _, top, _, bottom = font.getbbox('HO8')
    width = font.getlength(text)
    image = Image.new('L', (int(width) + 3, bottom - top + 4), 0)
    ImageDraw.Draw(image).text((1, 2 - top), text, font=font, fill=255)
    ends = [font.getlength(text[:i]) for i in range(len(text) + 1)]
    middles = tuple((1 + (a + b) / 2) / image.width for a, b in zip(ends, ends[1:]))
    return np.asarray(image), middles


def _outline(width: int, height: int, look: int) -> np.ndarray:
    """The sign's shape as a mask: plain, rounded, cut corners, or pointed ends."""
    mask = np.zeros((height, width), np.uint8)
    kind, c = look % 5, max(2, int(.16 * height))
    if kind in (0, 1):
        mask[:] = 255
    elif kind == 2:
        cv2.rectangle(mask, (c, 0), (width - 1 - c, height - 1), 255, -1)
        cv2.rectangle(mask, (0, c), (width - 1, height - 1 - c), 255, -1)
        for x in (c, width - 1 - c):
            for y in (c, height - 1 - c):
                cv2.circle(mask, (x, y), c, 255, -1, cv2.LINE_AA)
    else:
        h = height // 2 if kind == 4 else c
        d = min(c, width // 12)
        cv2.fillPoly(mask, [np.array([(d, 0), (width - 1 - d, 0), (width - 1, h),
                                      (width - 1, height - 1 - h), (width - 1 - d, height - 1),
                                      (d, height - 1), (0, height - 1 - h), (0, h)])], 255)
    return mask


def sign_face(sign: Sign, width: int, height: int, squash: float = 1.0):
    """The sign as (patch [h, w, 3], mask [h, w], characters [(letter, x, y)] in 0..1).

    squash: pixels per metre across over pixels per metre down.
    """
    ground, ink = SIGN_COLOURS[sign.colour]
    mask = _outline(width, height, sign.look)
    ink_mask = np.zeros((height, width), np.uint8)
    bordered = sign.look % 5 in (1, 2)
    pad_x = max(2, int((.09 if bordered else .05) * width))
    pad_y = max(2, int((.13 if bordered else .09) * height))
    pitch = (height - 2 * pad_y) / len(sign.lines)
    letters = []
    for i, line in enumerate(sign.lines):
        glyphs, middles = _line(line, sign.font)
        h = pitch * .80
        w = h * glyphs.shape[1] / glyphs.shape[0] * squash
        if w > width - 2 * pad_x:
            h *= max(.75, (width - 2 * pad_x) / w)
            w = width - 2 * pad_x
        w, h = max(3, int(w)), max(4, int(h))
        x, y = (width - w) // 2, int(pad_y + pitch * i + (pitch - h) / 2)
        ink_mask[y:y + h, x:x + w] = cv2.resize(glyphs, (w, h), interpolation=cv2.INTER_AREA)
        letters += [(c, (x + m * w) / width, (y + h / 2) / height)
                    for c, m in zip(line, middles) if c != ' ']
    if bordered:
        t = max(1, height // 28)
        cv2.rectangle(ink_mask, (t, t), (width - 1 - t, height - 1 - t), 255, t)
    alpha = ink_mask.astype(np.uint16)[..., None]
    patch = (np.array(ink, np.uint16) * alpha + np.array(ground, np.uint16) * (255 - alpha)) // 255
    patch = patch.astype(np.uint8)
    if not sign.legible:
        k = max(3, int(pitch * .9)) | 1
        patch = cv2.blur(cv2.blur(patch, (k, k)), (k, k))
        letters = []
    return patch, mask, letters
