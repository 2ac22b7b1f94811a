# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A stream of text, wrapped to a width by whole words while it comes."""
import unicodedata
from typing import Callable


class WordWrap:
    """Takes text in pieces of any size; `write` gets it with line ends where lines are full.

    A word is written when it is whole. `width` returns the columns there are, each time anew:
    a terminal may be resized. Control characters but line ends and tabs are made visible, for
    a model's text must not control the terminal.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int]):
        self._write, self._width = write, width
        self._column = 0   # where the next character goes
        self._space = ''   # before the word, written with it unless a line ends there
        self._word = ''    # not yet whole
        self._begun = False

    def feed(self, text: str) -> None:
        """Take a piece of text."""
        for character in text:
            if character == '\n':
                self._end_word()
                self._new_line()
                self._space = ''
            elif character in ' \t':
                self._end_word()
                self._space += ' ' if character == ' ' else '    '
            else:
                self._word += visible(character)
                if unicodedata.east_asian_width(character) in 'WF':  # no spaces between words
                    self._end_word()

    def finish(self) -> None:
        """Write what is left, and end the line unless it has just ended."""
        self._end_word()
        self._space = ''
        if self._column or not self._begun:
            self._new_line()

    def _end_word(self) -> None:
        word, self._word = self._word, ''
        if not word:
            return
        width, space = max(self._width(), 1), self._space
        self._space = ''
        if self._column and self._column + len(space) + columns(word) > width:
            self._new_line()
            space = ''
        self._put(space[:width - 1])
        for character in word:  # of which a line may not hold all
            if self._column + columns(character) > width and self._column:
                self._new_line()
            self._put(character)

    def _put(self, text: str) -> None:
        if text:
            self._write(text)
            self._column += columns(text)

    def _new_line(self) -> None:
        self._write('\n')
        self._column, self._begun = 0, True


def visible(character: str) -> str:
    """Return a character, or what stands for one that would act on a terminal."""
    return '\ufffd' if unicodedata.category(character) in ('Cc', 'Cs') else character


def columns(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) or unicodedata.category(c) == 'Cf'
               else 2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in text)
