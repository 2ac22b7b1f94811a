# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of the examples: a road sign, a room, and a hallway that someone enters.

    python -m training.make_example_pictures [--out examples/pictures]

Scenes, sign texts and phrasings of the seeds below were held out of the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from training.world import facts as F
from training.world.change import random_frames
from training.world.lens import camera_image
from training.world.scene import Scene, random_scene

SIGN, ROOM, HALLWAY = 9018, 14125, 12222   # seeds
FRAMES = 4
QUALITY = 75


def write(out: Path) -> list[tuple[str, str]]:
    """Writes the pictures; returns (name, what it shows) of each."""
    (out / 'hallway').mkdir(parents=True, exist_ok=True)
    told = []
    for name, seed in (('sign', SIGN), ('room', ROOM)):
        r = np.random.default_rng(seed)
        told.append(_write(out / f'{name}.jpg', random_scene(r, train=False), r))
    frames = random_frames(np.random.default_rng(HALLWAY), FRAMES, train=False)
    for number, scene in enumerate(frames.scenes, 1):
        # The same light in each: a camera that stands still.
        r = np.random.default_rng(HALLWAY)
        told.append(_write(out / 'hallway' / f'{number}.jpg', scene, r))
    return told


def _write(path: Path, scene: Scene, r: np.random.Generator) -> tuple[str, str]:
    pixels, _ = camera_image(scene, r)
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return path.name, F.description(scene)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('examples/pictures'))
    for line in write(parser.parse_args().out):
        print(*line, sep=': ')
