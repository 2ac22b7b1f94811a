# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A small picture on a terminal, in the way that the terminal knows; else none."""
import base64
import io
from typing import Mapping

import numpy as np

COLUMNS, ROWS = 40, 12   # at most
CELL = 8, 16             # pixels of a character, about
CHUNK = 4096             # bytes of a kitty escape
SIXEL_COLOURS = 64
HALF_BLOCK = '\N{UPPER HALF BLOCK}'


def way(environment: Mapping[str, str], encoding: str = 'utf-8') -> str:
    """Return how this terminal shows pictures: kitty, iterm, sixel, blocks, or '' for not."""
    term, program = environment.get('TERM', ''), environment.get('TERM_PROGRAM', '')
    if term in ('', 'dumb'):
        return ''
    # A multiplexer draws the screen itself, and lets none of these through.
    multiplexed = term.startswith(('screen', 'tmux')) or {'TMUX', 'STY'} & set(environment)
    if not multiplexed:
        if 'KITTY_WINDOW_ID' in environment or 'kitty' in term or program == 'ghostty':
            return 'kitty'
        if program in ('iTerm.app', 'WezTerm') or environment.get('LC_TERMINAL') == 'iTerm2':
            return 'iterm'
        if term.startswith(('foot', 'mlterm', 'yaft')) or 'sixel' in term:
            return 'sixel'
    colours = environment.get('COLORTERM') in ('truecolor', '24bit')
    if colours and 'NO_COLOR' not in environment and encoding.lower().startswith('utf'):
        return 'blocks'
    return ''


def thumbnail(rgb: np.ndarray, how: str, columns: int) -> str:
    """Return what shows uint8 RGB (h, w, 3) in at most `columns`; '' where `how` is ''."""
    draw = {'kitty': _kitty, 'iterm': _iterm, 'sixel': _sixel, 'blocks': _blocks}.get(how)
    return draw(rgb, max(min(COLUMNS, columns), 1)) if draw else ''


def _fit(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Shrink to a box of pixels, the aspect kept."""
    from PIL import Image

    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    size = max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))


def _blocks(rgb: np.ndarray, columns: int) -> str:
    """Half blocks: the upper pixel is the character's colour, the lower one its ground."""
    small = _fit(rgb, columns, 2 * ROWS)
    lines = []
    for upper in range(0, len(small), 2):
        line = ''
        for x in range(small.shape[1]):
            line += '\x1b[38;2;{};{};{}m'.format(*small[upper, x])
            if upper + 1 < len(small):
                line += '\x1b[48;2;{};{};{}m'.format(*small[upper + 1, x])
            line += HALF_BLOCK
        lines.append(line + '\x1b[0m\n')
    return ''.join(lines)


def _png(rgb: np.ndarray, columns: int) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    # Twice as fine as the cells that it will fill: many screens are.
    Image.fromarray(_fit(rgb, 2 * CELL[0] * columns, 2 * CELL[1] * ROWS)).save(data, 'PNG')
    return data.getvalue()


def _cells(rgb: np.ndarray, columns: int) -> int:
    """Columns that fill the box without changing the aspect."""
    wide = ROWS * CELL[1] * rgb.shape[1] / (rgb.shape[0] * CELL[0])
    return max(min(columns, round(wide)), 1)


def _kitty(rgb: np.ndarray, columns: int) -> str:
    text = base64.b64encode(_png(rgb, columns)).decode()
    parts = [text[at:at + CHUNK] for at in range(0, len(text), CHUNK)]
    # q=2: the terminal is not to answer, which would look like typed text.
    first = f'a=T,f=100,q=2,c={_cells(rgb, columns)},'
    return ''.join(
        f'\x1b_G{first if not number else ""}m={int(number + 1 < len(parts))};{part}\x1b\\'
        for number, part in enumerate(parts)) + '\n'


def _iterm(rgb: np.ndarray, columns: int) -> str:
    data = _png(rgb, columns)
    return (f'\x1b]1337;File=inline=1;size={len(data)};width={_cells(rgb, columns)};'
            f'preserveAspectRatio=1:{base64.b64encode(data).decode()}\x07\n')


def _sixel(rgb: np.ndarray, columns: int) -> str:
    """Bands of six rows; in each, every colour's pixels in turn (DEC STD 070, chapter 9)."""
    from PIL import Image

    image = Image.fromarray(_fit(rgb, CELL[0] * columns, CELL[1] * ROWS)).quantize(SIXEL_COLOURS)
    pixels = np.asarray(image)
    palette = np.array(image.getpalette(), int).reshape(-1, 3) * 100 // 255
    used = np.unique(pixels)
    text = '\x1bPq"1;1;{};{}'.format(image.width, image.height)
    text += ''.join('#{};2;{};{};{}'.format(colour, *palette[colour]) for colour in used)
    for top in range(0, image.height, 6):
        band = pixels[top:top + 6]
        weights = 1 << np.arange(len(band))
        text += '$'.join(
            f'#{colour}' + _run_lengths((band == colour).T @ weights)
            for colour in np.unique(band)) + '-'
    return text + '\x1b\\\n'


def _run_lengths(values: np.ndarray) -> str:
    """Sixel characters of values 0..63, runs shortened."""
    ends = np.flatnonzero(np.diff(values, append=-1)) + 1
    starts = np.concatenate([[0], ends[:-1]])
    return ''.join(
        (f'!{end - start}' if end - start > 3 else '') + chr(63 + int(values[start]))
        * (1 if end - start > 3 else end - start) for start, end in zip(starts, ends))
