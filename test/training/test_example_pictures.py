# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The pictures of the examples are those that the world draws."""
from pathlib import Path

import cv2
import numpy as np

from training.make_example_pictures import write

PICTURES = Path(__file__).parents[2] / 'examples' / 'pictures'


def test_the_pictures_that_ship_are_the_ones_that_are_drawn(tmp_path):
    told = dict(write(tmp_path))
    assert 'HOOVER DAM 8 1/4 MILES' in told['sign.jpg']
    assert 'person' in told['4.jpg'] and 'person' not in told['1.jpg']
    drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*.jpg'))
    assert drawn == sorted(path.relative_to(PICTURES) for path in PICTURES.rglob('*.jpg'))
    for path in drawn:  # JPEG codecs differ by a level or two
        ours, theirs = (cv2.imread(str(folder / path)).astype(int)
                        for folder in (tmp_path, PICTURES))
        assert np.abs(ours - theirs).mean() < 2
