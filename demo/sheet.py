# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: each frame that was asked about, with question and answer under it."""
import textwrap
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, CAPTION, GAP, COLUMNS = 320, 240, 104, 10, 4
INK, GRAY, GOOD, BAD = '#1c1c1e', '#6e6e73', '#1a7f37', '#cf222e'
LINE = 17


class Tile(NamedTuple):
    """One question: pixels uint8 (h, w, 3) RGB, the texts, and whether it was right."""

    rgb: np.ndarray
    question: str
    answer: str
    right: bool


def save_sheet(tiles: Sequence[Tile], path: Path) -> None:
    """Draw the tiles, four in a row, and write a PNG."""
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new('RGB', (COLUMNS * (WIDTH + GAP) + GAP,
                              rows * (HEIGHT + CAPTION + GAP) + GAP), 'white')
    draw = ImageDraw.Draw(sheet)
    for index, tile in enumerate(tiles):
        left = GAP + index % COLUMNS * (WIDTH + GAP)
        top = GAP + index // COLUMNS * (HEIGHT + CAPTION + GAP)
        sheet.paste(Image.fromarray(tile.rgb).resize((WIDTH, HEIGHT)), (left, top))
        colour = GOOD if tile.right else BAD
        draw.rectangle([left, top, left + WIDTH - 1, top + HEIGHT - 1], outline=colour, width=3)
        _caption(draw, left, top + HEIGHT + 4, tile, colour)
    sheet.save(path, optimize=True)


def _caption(draw: ImageDraw.ImageDraw, left: int, top: int, tile: Tile, colour: str) -> None:
    font = ImageFont.load_default(13)
    lines = [(text, GRAY) for text in textwrap.wrap(tile.question, 48)[:2]]
    mark = '' if tile.right else 'WRONG: '
    room = CAPTION // LINE - len(lines)
    answer = textwrap.wrap(mark + tile.answer, 46)
    if len(answer) > room:
        answer = [*answer[:room - 1], answer[room - 1][:43] + '...']
    lines += [(text, INK if tile.right else colour) for text in answer]
    for index, (text, ink) in enumerate(lines):
        draw.text((left, top + index * LINE), text, fill=ink, font=font)
