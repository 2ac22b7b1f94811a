# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A stream is wrapped by whole words, whatever pieces it comes in."""
import random

import pytest

from nanovlm_ros.chat.words import WordWrap, columns


def wrapped(text, width, pieces=None):
    out = []
    wrap = WordWrap(out.append, lambda: width)
    for piece in pieces or [text]:
        wrap.feed(piece)
    wrap.finish()
    return ''.join(out)


@pytest.mark.parametrize('text, width, lines', [
    ('a room with a door', 8, ['a room', 'with a', 'door']),
    ('exactly eight chr', 8, ['exactly', 'eight', 'chr']),
    ('12345678 1234567 x', 8, ['12345678', '1234567', 'x']),
    ('abcdefghijkl m', 5, ['abcde', 'fghij', 'kl m']),
    ('in abcdefghij', 5, ['in', 'abcde', 'fghij']),
    ('one\ntwo\n\nthree', 80, ['one', 'two', '', 'three']),
    ('    indented code', 80, ['    indented code']),
    ('a  b', 80, ['a  b']), ('', 80, ['']), ('\tx', 80, ['    x']),
    ('über Straße', 6, ['über', 'Straße']), ('日本語の文章です', 6, ['日本語', 'の文章', 'です']),
    ('e\u0301e\u0301e\u0301 x', 3, ['e\u0301e\u0301e\u0301', 'x'])])
def test_lines_hold_whole_words(text, width, lines):
    assert wrapped(text, width) == '\n'.join(lines) + '\n'


def test_pieces_make_no_difference_and_nothing_is_lost():
    r = random.Random(1)
    for _ in range(300):
        text = ''.join(r.choice('ab cd  e\n日ü') for _ in range(r.randrange(80)))
        width = r.randrange(1, 20)
        cuts = sorted(r.randrange(len(text) + 1) for _ in range(r.randrange(6)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
        whole = wrapped(text, width)
        assert wrapped(text, width, pieces) == whole
        assert ''.join(whole.split()) == ''.join(text.split())
        assert all(columns(line) <= max(width, 2) for line in whole.split('\n')), (text, width)


def test_words_come_as_soon_as_they_are_whole():
    out = []
    wrap = WordWrap(out.append, lambda: 80)
    wrap.feed('a ro')
    assert ''.join(out) == 'a'
    wrap.feed('om ')
    assert ''.join(out) == 'a room'


def test_a_terminal_may_be_resized():
    width, out = [80], []
    wrap = WordWrap(out.append, lambda: width[0])
    wrap.feed('one two three ')
    width[0] = 9
    wrap.feed('four five six ')
    wrap.finish()
    assert ''.join(out) == 'one two three\nfour five\nsix\n'


def test_what_a_model_says_does_not_control_the_terminal():
    text = wrapped('a\x1b[2Jb \x07\x9b\r', 80)
    assert text == 'a\ufffd[2Jb \ufffd\ufffd\ufffd\n'
