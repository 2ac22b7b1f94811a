# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a user types, line by line, with a history that outlives the chat."""
import glob
import os
import sys
from pathlib import Path
from typing import Iterator, Optional

from nanovlm_ros.chat.screen import Screen

try:
    import readline
except ImportError:  # a Python without it: no history, and no editing
    readline = None  # type: ignore[assignment]

LONGEST_HISTORY = 1000  # lines


class Lines:
    """Iterating gives what was typed until the end of the input, or Ctrl-C at an empty prompt.

    That raises KeyboardInterrupt; where something is typed already, it empties the line.
    """

    def __init__(self, screen: Screen):
        self._screen = screen
        self.typing = sys.stdin.isatty()  # a person does; else they come from a pipe
        self._history: Optional[Path] = None

    def __enter__(self) -> 'Lines':
        sys.stdin.reconfigure(errors='surrogateescape')  # what is no UTF-8 is told of later
        if self.typing and readline is not None:
            readline.set_completer_delims('\n')  # names of files may have spaces
            readline.set_completer(_complete)
            libedit = 'libedit' in (readline.__doc__ or '')
            readline.parse_and_bind('bind ^I rl_complete' if libedit else 'tab: complete')
            self._history = history_file()
            try:
                self._history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._history.touch(mode=0o600)
                readline.read_history_file(self._history)
            except OSError as error:
                self._screen.note(f'The history cannot be kept in {self._history}: '
                                  f'{error.strerror}.')
                self._history = None
        return self

    def __exit__(self, *_) -> None:
        if self._history is not None:
            readline.set_history_length(LONGEST_HISTORY)
            try:
                readline.write_history_file(self._history)
            except OSError as error:
                self._screen.note(f'The history could not be written to {self._history}: '
                                  f'{error.strerror}.')

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                line = self._read()
            except KeyboardInterrupt:
                self._screen.text('')
                # What readline has of the line is there until the next one begins.
                if self.typing and readline is not None and readline.get_line_buffer():
                    continue
                raise
            if line is None:
                return
            yield line

    def _read(self) -> Optional[str]:
        if self.typing and sys.stdout.isatty():
            try:
                return input(self._screen.prompt())
            except EOFError:  # Ctrl-D
                self._screen.text('')
                return None
        if self.typing:  # input() would write its prompt among the answers
            print(self._screen.prompt(), end='', file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        return line.rstrip('\n') if line else None


def history_file() -> Path:
    """Return where the history is kept: below XDG_STATE_HOME."""
    state = os.environ.get('XDG_STATE_HOME', '')
    folder = Path(state) if os.path.isabs(state) else Path.home() / '.local' / 'state'
    return folder / 'nanovlm_ros' / 'chat_history'


def _complete(text: str, number: int) -> Optional[str]:
    """The files whose names begin like what was typed, one after the other."""
    start = os.path.expanduser(text)
    names = sorted(glob.glob(glob.escape(start) + '*')) if text else []
    names = [name + os.sep if os.path.isdir(name) else name for name in names]
    return names[number] if number < len(names) else None
