# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A program on a pseudo terminal, as a person sees it and types into it."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 40  # s; only a hang takes so long
CTRL_C, CTRL_D, UP = '\x03', '\x04', '\x1b[A'


class Terminal:
    """Runs `python *arguments`; `seen` is all that the screen was sent."""

    def __init__(self, *arguments, columns=80, **environment):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        clean = {key: value for key, value in os.environ.items()
                 if key not in ('COLORTERM', 'NO_COLOR', 'COLUMNS', 'LINES', 'TMUX', 'STY')}
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
            env={**clean, 'TERM': 'xterm', **environment}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # who gets Ctrl-C
        os.close(slave)
        self._master, self.seen, self._read = master, '', 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, text):
        os.write(self._master, text.encode())

    def enter(self, text):
        self.type(text + '\n')

    def interrupt_prompt(self):
        """Press Ctrl-C where a line is typed.

        Not at once: between drawing and waiting, readline keeps a signal for the next key.
        """
        time.sleep(0.5)
        self.type(CTRL_C)

    def expect(self, text):
        """Wait until a text appears after the last one that was waited for."""
        end = time.monotonic() + PATIENCE
        while (at := self.seen.find(text, self._read)) < 0:
            assert time.monotonic() < end and self._more(end), (
                f'{text!r} is missing from {self.seen[self._read:]!r}')
        self._read = at + len(text)

    def wait(self):
        """Return the exit code."""
        end = time.monotonic() + PATIENCE
        while self._more(end):
            pass
        return self._process.wait(max(end - time.monotonic(), 1))

    def _more(self, end):
        if not select.select([self._master], [], [], max(end - time.monotonic(), 0))[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # nobody holds the other side any more
            return False
        self.seen += data.decode(errors='replace')
        return bool(data)
