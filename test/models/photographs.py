# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Real photographs, those that scikit-image carries: odd sizes, portrait, grey, with alpha."""
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

FOLDER = Path(data.__file__).parent
NAMES = ['chelsea.png',             # 451 x 300
         'coffee.png',              # 600 x 400
         'rocket.jpg',              # 640 x 427
         'motorcycle_left.png',     # 741 x 500
         'hubble_deep_field.jpg',   # 1000 x 872
         'color.png',               # 371 x 370
         'astronaut.png',           # 512 x 512
         'cell.png',                # 550 x 660, grey: portrait
         'page.png',                # 384 x 191, grey
         'text.png',                # 448 x 172, grey
         'coins.png',               # 384 x 303, grey
         'horse.png',               # 400 x 328, alpha
         'logo.png']                # 500 x 500, alpha
ALPHA = ['horse.png', 'logo.png']


def picture(name: str) -> Image.Image:
    """Return an image as its file holds it: RGB, RGBA or grey."""
    return Image.open(FOLDER / name)


def rgb(name: str) -> np.ndarray:
    """Return a photograph as frames hold it: uint8 RGB (height, width, 3)."""
    return np.asarray(picture(name).convert('RGB'))
