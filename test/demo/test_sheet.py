# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The contact sheet shows every frame, green where the answer was right."""
import numpy as np
import pytest
from PIL import Image, ImageColor

from demo.sheet import BAD, GAP, GOOD, HEIGHT, WIDTH, Tile, save_sheet

FRAME = np.full((480, 640, 3), (10, 20, 200), np.uint8)


@pytest.mark.parametrize('right, colour', [(True, GOOD), (False, BAD)])
def test_a_tile_is_the_frame_in_the_colour_of_its_verdict(tmp_path, right, colour):
    save_sheet([Tile(FRAME, 'What?', 'A blue wall.', right)], tmp_path / 'sheet.png')
    sheet = Image.open(tmp_path / 'sheet.png')
    assert sheet.getpixel((GAP, GAP)) == ImageColor.getrgb(colour)
    assert sheet.getpixel((GAP + WIDTH // 2, GAP + HEIGHT // 2)) == (10, 20, 200)


def test_long_texts_stay_below_their_frame(tmp_path):
    tile = Tile(FRAME, 'why ' * 200, 'because ' * 200, False)
    save_sheet([tile] * 5, tmp_path / 'sheet.png')  # five: two rows
    sheet = np.asarray(Image.open(tmp_path / 'sheet.png'))
    below = sheet[GAP + HEIGHT:, :, :][:120, GAP:GAP + WIDTH]
    assert (below != 255).any()                                   # the caption
    assert (sheet[-GAP:] == 255).all() and (sheet[:, -GAP:] == 255).all()  # nothing spills
