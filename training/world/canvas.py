# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A picture that is drawn in camera units, on any grid of pixels.

Camera units: u to the right in 0..aspect, v down in 0..1. The canvas applies tilt, zoom, shift and
the squash to its own shape to every point, so a square training picture needs no second resampling.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.world.scene import Camera

cv2.setNumThreads(0)
_SUB = 4
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 25)[:-1]),
                    np.sin(np.linspace(0, 2 * np.pi, 25)[:-1])], 1)

Colour = tuple[float, float, float]


def shade(colour, k: float, add: float = 0.0) -> Colour:
    """The colour times k plus add, clipped to 0..255."""
    return tuple(float(min(255, max(0, c * k + add))) for c in colour)


class Canvas:
    """An RGB picture [height, width, 3] uint8 with drawing in camera units."""

    def __init__(self, camera: Camera, width: int, height: int):
        self.pixels = np.empty((height, width, 3), np.uint8)
        self.camera = camera
        a = np.deg2rad(camera.tilt)
        turn = camera.zoom * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        middle = np.array([camera.aspect / 2, .5])
        scale = np.array([width / camera.aspect, height])
        self.linear = turn * scale[:, None]
        self.offset = (middle - turn @ middle + np.array(camera.shift)) * scale

    def to_pixels(self, points) -> np.ndarray:
        """Camera units [n, 2] to pixels [n, 2], float64."""
        return np.asarray(points, np.float64).reshape(-1, 2) @ self.linear.T + self.offset

    def polygon(self, points, colour) -> None:
        """A filled polygon."""
        p = np.clip(self.to_pixels(points) * (1 << _SUB), -30000, 30000).astype(np.int32)
        cv2.fillPoly(self.pixels, [p], colour, cv2.LINE_AA, _SUB)

    def ellipse(self, u: float, v: float, a: float, b: float, colour) -> None:
        """A filled ellipse with half axes a and b."""
        self.polygon(_CIRCLE * (a, b) + (u, v), colour)

    def rectangle(self, u0: float, v0: float, u1: float, v1: float, colour) -> None:
        """A filled rectangle."""
        self.polygon(((u0, v0), (u1, v0), (u1, v1), (u0, v1)), colour)

    def line(self, points, width: float, colour) -> None:
        """An open line of this width (camera units)."""
        p = np.clip(self.to_pixels(points) * (1 << _SUB), -30000, 30000).astype(np.int32)
        thick = max(1, int(round(width * self.pixels.shape[0])))
        cv2.polylines(self.pixels, [p], False, colour, thick, cv2.LINE_AA, _SUB)

    def paste(self, patch: np.ndarray, mask: np.ndarray, box: tuple) -> None:
        """Draws patch [h, w, 3] where mask [h, w] (0..255) into the camera box (u0, v0, u1, v1)."""
        h, w = mask.shape
        u0, v0, u1, v1 = box
        to = np.array([[(u1 - u0) / w, 0], [0, (v1 - v0) / h]])
        m = np.concatenate([self.linear @ to,
                            (self.linear @ np.array([u0, v0]) + self.offset)[:, None]], 1)
        corners = self.to_pixels(((u0, v0), (u1, v0), (u1, v1), (u0, v1)))
        height, width = self.pixels.shape[:2]
        x0, y0 = np.clip(np.floor(corners.min(0)), 0, (width - 1, height - 1)).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(0)) + 1, 1, (width, height)).astype(int)
        if x1 <= x0 or y1 <= y0:
            return
        m[:, 2] -= (x0, y0)
        # warpAffine maps pixel centres: a pixel's centre lies half a pixel into it.
        m[:, 2] += m[:, :2] @ (.5, .5) - .5
        size = (int(x1 - x0), int(y1 - y0))
        alpha = cv2.warpAffine(mask, m, size, flags=cv2.INTER_LINEAR).astype(np.uint16)[..., None]
        drawn = cv2.warpAffine(patch, m, size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE).astype(np.uint16)
        roi = self.pixels[y0:y1, x0:x1]
        roi[:] = (drawn * alpha + roi.astype(np.uint16) * (255 - alpha)) // 255
