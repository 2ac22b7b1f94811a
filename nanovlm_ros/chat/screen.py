# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a chat shows: answers on stdout, everything else on stderr."""
import os
import shutil
import sys
import textwrap

from nanovlm_ros.chat.thumbnail import thumbnail, way
from nanovlm_ros.chat.words import WordWrap, visible
from nanovlm_ros.types import LENGTH, Answer, Frame, JsonStatus

PROMPT = '>> PROMPT: '
BOLD, DIM, PLAIN = '\x1b[1m', '\x1b[2m', '\x1b[0m'


class Screen:
    """A terminal, or what stands in its place: then nothing is coloured, wrapped or drawn."""

    def __init__(self, *, stats: bool = True, thumbnails: bool = True):
        self._out, self._err = sys.stdout, sys.stderr
        for stream in (self._out, self._err):  # a character it has not is no reason to end
            stream.reconfigure(errors='replace')
        self._stats = stats
        self.terminal = self._out.isatty() and self._err.isatty()
        self._colours = (self.terminal and 'NO_COLOR' not in os.environ
                         and os.environ.get('TERM', 'dumb') != 'dumb')
        self._way = (way(os.environ, self._err.encoding)
                     if self.terminal and thumbnails else '')

    # -- to stdout ----------------------------------------------------------------------------

    def answer(self, json: bool) -> 'Writer':
        """Return what takes the text of one answer."""
        if json:
            return Writer()  # a document is shown when it is whole, for it may not become so
        return WrappedWriter(self._write, self.width) if self.terminal else (
            PlainWriter(self._write))

    def document(self, answer: Answer) -> None:
        """Show the JSON of an answer, or say why there is none."""
        if answer.json_status == JsonStatus.VALID:
            self._write(answer.json + '\n')
        else:
            self.note(answer.error_message)

    # -- to stderr ----------------------------------------------------------------------------

    def echo(self, text: str) -> None:
        """Show an entry of a list as if it were typed."""
        self._print(self._in(BOLD, PROMPT) + ''.join(
            c if c == '\n' or not self.terminal else visible(c) for c in text))

    def note(self, text: str) -> None:
        """Say something that is no answer."""
        text = f'nanovlm: {text}'
        if self.terminal:
            text = textwrap.fill(''.join(map(visible, text)), self.width(),
                                 break_on_hyphens=False, break_long_words=False)
        self._print(text)

    def picture(self, frame: Frame) -> None:
        """Show a picture that waits for its question."""
        self.note(f'{frame.frame_id}, {frame.width} x {frame.height} pixels; the next question '
                  'is about it.')
        drawn = thumbnail(frame.rgb, self._way, self.width())
        if drawn:
            self._print(drawn, end='')

    def ended(self, answer: Answer) -> None:
        """Say how an answer ended, and what it took."""
        if answer.finish_reason == LENGTH:
            self.note('The answer was cut at its longest; --max-new-tokens makes it longer, '
                      'reset makes room in the context.')
        if self._stats:
            self._print(self._in(DIM, table(answer)))

    def text(self, text: str) -> None:
        """Show lines as they are."""
        self._print(text)

    def width(self) -> int:
        """Columns of the terminal, as of now."""
        return shutil.get_terminal_size().columns

    def prompt(self) -> str:
        """Return what stands before a line that is typed, as readline wants it."""
        if not self._colours:
            return PROMPT
        # \1 and \2 enclose what takes no column.
        return f'\1{BOLD}\2{PROMPT}\1{PLAIN}\2'

    def _in(self, style: str, text: str) -> str:
        return f'{style}{text}{PLAIN}' if self._colours else text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _print(self, text: str, end: str = '\n') -> None:
        print(text, end=end, file=self._err, flush=True)


class Writer:
    """Takes the text of an answer, and shows nothing of it."""

    def feed(self, text: str) -> None:
        """Take a piece."""

    def finish(self) -> None:
        """End the answer, which may be empty."""

    def abandon(self) -> None:
        """End the line, if one was begun: there is no answer."""


class PlainWriter(Writer):
    """Shows the text as it is, on lines of its own."""

    def __init__(self, write):
        self._write, self._last = write, ''

    def feed(self, text: str) -> None:
        if text:
            self._write(text)
            self._last = text[-1]

    def finish(self) -> None:
        if self._last != '\n':
            self._write('\n')

    def abandon(self) -> None:
        if self._last:
            self.finish()


class WrappedWriter(PlainWriter):
    """Shows the text wrapped to the terminal."""

    def __init__(self, write, width):
        wrap = WordWrap(write, width)
        super().__init__(wrap.feed)
        self._wrap = wrap

    def finish(self) -> None:
        self._wrap.finish()


def table(answer: Answer) -> str:
    """Return what an answer took: tokens, times in s, and speeds in tokens/s; two lines."""
    times = answer.timings
    cells = (
        ('in', f'{answer.prompt_tokens}'), ('cached', f'{answer.cached_tokens}'),
        ('out', f'{answer.completion_tokens}'), ('vision', f'{times.vision:.3f} s'),
        ('first token', f'{times.first_token:.3f} s'),
        ('prefill', _speed(answer.prompt_tokens - answer.cached_tokens, times.prefill)),
        ('decode', _speed(answer.completion_tokens - 1, times.decode)),
        ('total', f'{times.total:.2f} s'))
    widths = (5, 6, 5, 7, 11, 12, 11, 8)  # 79 columns
    return '\n'.join('  '.join(text.rjust(width) for text, width in zip(line, widths))
                     for line in zip(*cells))


def _speed(tokens: int, seconds: float) -> str:
    return f'{tokens / seconds:,.0f} tok/s' if tokens > 0 and seconds > 0 else '-'
