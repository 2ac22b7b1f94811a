# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Light, noise, blur and JPEG: what a camera does to a picture before a robot sees it."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from training.world.draw import Labels, draw_scene
from training.world.scene import Scene

INPUT = 256   # pixels along one side of the model's input
_GRAIN = np.random.default_rng(9).normal(0, 1, (3, 900, 1100, 3)).astype(np.float32)
_OUTSIDE = ('noise', 'black', 'gradient', 'stripes', 'blobs', 'flat', 'blocks')


def expose(pixels: np.ndarray, r: np.random.Generator) -> np.ndarray:
    """Uneven light, a colour cast, blur and sensor noise on an RGB uint8 picture."""
    h, w = pixels.shape[:2]
    if r.random() < .3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), h / 480 * r.uniform(.4, 1.1))
    gx, gy = r.uniform(-.3, .3, 2)
    light = r.uniform(.72, 1.15) * (1 + gx * np.linspace(-.5, .5, w, dtype=np.float32)[None] +
                                    gy * np.linspace(-.5, .5, h, dtype=np.float32)[:, None])
    out = pixels * light[..., None].astype(np.float32)
    out *= r.uniform(.95, 1.05, 3).astype(np.float32)
    y, x = int(r.integers(0, 900 - h)), int(r.integers(0, 1100 - w))
    out += _GRAIN[int(r.integers(3)), y:y + h, x:x + w] * np.float32(r.uniform(1, 9))
    return np.clip(out, 0, 255).astype(np.uint8)


def camera_size(aspect: float) -> tuple[int, int]:
    """(width, height) in pixels of a camera of this aspect."""
    return {True: (640, 480)}.get(abs(aspect - 4 / 3) < .01) or ((640, 360) if aspect > 1.5 else
                                                                 (480, 480))


def outside_picture(r: np.random.Generator, kind: str, width: int, height: int) -> np.ndarray:
    """A picture that is not of this world: noise, a lens cap, gradients, textures."""
    shape = (height, width, 3)
    if kind == 'noise':
        small = r.integers(0, 256, (int(r.choice([12, 48, height])),) * 2 + (3,), np.uint8)
        return cv2.resize(small, (width, height), interpolation=int(r.integers(0, 2)))
    if kind in ('black', 'flat'):
        level = r.uniform(0, 14, 3) if kind == 'black' else r.uniform(0, 255, 3)
        return np.full(shape, level).astype(np.uint8)
    ramp = np.linspace(0, 1, width)[None, :, None] * r.uniform(-1, 1) \
        + np.linspace(0, 1, height)[:, None, None] * r.uniform(-1, 1)
    if kind == 'gradient':
        return np.clip(r.uniform(40, 215, 3) + ramp * r.uniform(60, 200, 3), 0, 255).astype(
            np.uint8)
    if kind == 'stripes':
        wave = np.sin(ramp * r.uniform(15, 120) + r.uniform(0, 6))
        return np.clip(r.uniform(60, 190, 3) + wave * r.uniform(20, 110, 3), 0, 255).astype(
            np.uint8)
    if kind == 'blobs':
        small = r.normal(0, 1, (int(r.integers(4, 12)),) * 2 + (3,)).astype(np.float32)
        big = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip(128 + big * r.uniform(30, 80), 0, 255).astype(np.uint8)
    out = np.full(shape, r.uniform(0, 255, 3)).astype(np.uint8)
    for _ in range(int(r.integers(8, 40))):
        x, y = int(r.integers(0, width)), int(r.integers(0, height))
        w, h = int(r.integers(8, width // 3)), int(r.integers(8, height // 3))
        cv2.rectangle(out, (x, y), (x + w, y + h), r.uniform(0, 255, 3).tolist(), -1)
    return out


def outside_kind(r: np.random.Generator) -> str:
    """The name of a random picture that is not of this world."""
    return _OUTSIDE[int(r.integers(len(_OUTSIDE)))]


def camera_image(scene: Scene, r: np.random.Generator) -> tuple[np.ndarray, Labels]:
    """What the robot's camera delivers: full size RGB, through light, noise and JPEG."""
    width, height = camera_size(scene.camera.aspect)
    if scene.outside:
        pixels, labels = outside_picture(r, scene.outside, width, height), Labels()
    else:
        pixels, labels = draw_scene(scene, width, height)
        pixels = expose(pixels, r)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(r.integers(55, 96))]
    jpeg = cv2.imencode('.jpg', pixels[..., ::-1], quality)[1]
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1], labels


def model_input(pixels: np.ndarray) -> np.ndarray:
    """Any RGB picture to the model's [256, 256, 3] uint8, as inference does it."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((INPUT, INPUT), Image.Resampling.BICUBIC))


def quick_image(scene: Scene, r: np.random.Generator) -> tuple[np.ndarray, Labels]:
    """A training picture [256, 256, 3] without light and noise, drawn at twice its size."""
    if scene.outside:
        return outside_picture(r, scene.outside, INPUT, INPUT), Labels()
    pixels, labels = draw_scene(scene, 2 * INPUT, 2 * INPUT)
    return cv2.resize(pixels, (INPUT, INPUT), interpolation=cv2.INTER_AREA), labels
