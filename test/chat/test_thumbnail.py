# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small pictures: the way that a terminal knows, and bytes that mean the picture."""
import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from nanovlm_ros.chat.thumbnail import thumbnail, way

HALVES = np.zeros((120, 160, 3), np.uint8)
HALVES[:, :80] = 255, 0, 0
HALVES[:, 80:] = 0, 0, 255


@pytest.mark.parametrize('environment, want', [
    ({}, ''), ({'TERM': 'dumb', 'COLORTERM': 'truecolor'}, ''), ({'TERM': 'xterm'}, ''),
    ({'TERM': 'xterm', 'COLORTERM': 'truecolor'}, 'blocks'),
    ({'TERM': 'xterm', 'COLORTERM': '24bit', 'NO_COLOR': '1'}, ''),
    ({'TERM': 'xterm-kitty'}, 'kitty'), ({'TERM': 'xterm', 'KITTY_WINDOW_ID': '1'}, 'kitty'),
    ({'TERM': 'xterm', 'TERM_PROGRAM': 'iTerm.app'}, 'iterm'),
    ({'TERM': 'xterm', 'LC_TERMINAL': 'iTerm2'}, 'iterm'),
    ({'TERM': 'xterm', 'TERM_PROGRAM': 'WezTerm'}, 'iterm'),
    ({'TERM': 'foot'}, 'sixel'), ({'TERM': 'mlterm'}, 'sixel'),
    ({'TERM': 'screen', 'KITTY_WINDOW_ID': '1'}, ''),
    ({'TERM': 'tmux-256color', 'COLORTERM': 'truecolor', 'TERM_PROGRAM': 'WezTerm'}, 'blocks'),
    ({'TERM': 'xterm-kitty', 'TMUX': 'x'}, '')])
def test_the_way_is_the_terminal_s(environment, want):
    assert way(environment) == want


def test_a_terminal_that_cannot_write_the_block_gets_none():
    assert way({'TERM': 'xterm', 'COLORTERM': 'truecolor'}, 'ascii') == ''


@pytest.mark.parametrize('columns', [80, 20, 1])
@pytest.mark.parametrize('shape', [(480, 640), (64, 2000), (2000, 64), (1, 1), (7, 9)])
def test_every_way_shows_every_shape_in_the_room_there_is(columns, shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert thumbnail(rgb, '', columns) == ''
    for how in ('kitty', 'iterm', 'sixel', 'blocks'):
        assert thumbnail(rgb, how, columns).endswith('\n')
    lines = thumbnail(rgb, 'blocks', columns).splitlines()
    assert 1 <= len(lines) <= 12
    assert max(line.count('▀') for line in lines) <= min(columns, 40)


def test_blocks_have_the_colours_of_the_picture_and_leave_none_behind():
    lines = thumbnail(HALVES, 'blocks', 80).splitlines()
    assert len(lines) == 12 and all(line.endswith('\x1b[0m') for line in lines)
    cells = re.findall(r'\x1b\[38;2;(\d+);0;(\d+)m\x1b\[48;2;(\d+);0;(\d+)m▀', lines[3])
    assert len(cells) == 32
    assert cells[0] == ('255', '0', '255', '0') and cells[-1] == ('0', '255', '0', '255')


def test_kitty_gets_a_png_in_pieces_and_is_not_to_answer():
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    pieces = re.findall(r'\x1b_G([^;]*);([^\x1b]*)\x1b\\', thumbnail(noise, 'kitty', 80))
    assert len(pieces) > 1 and all(len(data) <= 4096 for _, data in pieces)
    assert pieces[0][0] == 'a=T,f=100,q=2,c=32,m=1'
    assert [keys for keys, _ in pieces[1:]] == ['m=1'] * (len(pieces) - 2) + ['m=0']
    png = base64.b64decode(''.join(data for _, data in pieces))
    assert Image.open(io.BytesIO(png)).size == (512, 384)


def test_iterm_gets_a_png_of_the_size_it_is_told():
    text = thumbnail(HALVES, 'iterm', 80)
    size, width, data = re.fullmatch(
        r'\x1b\]1337;File=inline=1;size=(\d+);width=(\d+);preserveAspectRatio=1:(.*)\x07\n',
        text).groups()
    png = base64.b64decode(data)
    assert (len(png), int(width)) == (int(size), 32)
    assert Image.open(io.BytesIO(png)).convert('RGB').getpixel((1, 1)) == (255, 0, 0)


def decoded(text):
    """Draw a sixel picture, by the manual of the VT340."""
    width, height, body = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\\n', text).groups()
    picture, colours = np.zeros((int(height) + 6, int(width), 3)), {}
    x = y = colour = 0
    for number, red, green, blue, now, turns, sixel, control in re.findall(
            r'#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|(?:!(\d+))?([?-~])|([$-])', body):
        if number:
            colours[int(number)] = [int(red) * 2.55, int(green) * 2.55, int(blue) * 2.55]
        elif now:
            colour = int(now)
        elif sixel:
            for _ in range(int(turns or 1)):
                for row in range(6):
                    if (ord(sixel) - 63) >> row & 1:
                        picture[y + row, x] = colours[colour]
                x += 1
        else:
            x, y = 0, y + (6 if control == '-' else 0)
    return picture[:int(height)]


def test_sixels_are_the_picture():
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8).repeat(
        28, 0).repeat(28, 1)
    for rgb, tolerance in ((HALVES, 3), (noise, 8)):
        picture = decoded(thumbnail(rgb, 'sixel', 40))
        small = np.asarray(Image.fromarray(rgb).resize(
            picture.shape[1::-1], Image.Resampling.BOX), float)
        assert np.abs(picture - small).mean() < tolerance
