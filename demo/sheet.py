# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: each frame that was asked about, with question and answer under it."""
from pathlib import Path
from typing import List, NamedTuple, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, CAPTION, GAP, COLUMNS = 320, 240, 78, 10, 4
INK, GRAY, GOOD, BAD = '#1c1c1e', '#6e6e73', '#1a7f37', '#cf222e'
LINE = 17
DOTS = 16  # pixels kept free for ' ...'


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
    question = _wrap(tile.question, font, 2)
    answer = _wrap(('' if tile.right else 'WRONG: ') + tile.answer, font,
                   CAPTION // LINE - len(question))
    lines = [(text, GRAY) for text in question]
    lines += [(text, INK if tile.right else colour) for text in answer]
    for index, (text, ink) in enumerate(lines):
        draw.text((left, top + index * LINE), text, fill=ink, font=font)


def _wrap(text: str, font, room: int) -> List[str]:
    """Break a text into at most `room` lines of a tile's width; dots stand for the rest."""
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and font.getlength(longer) > WIDTH - DOTS:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= room else [*lines[:room - 1], lines[room - 1] + ' ...']
