# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The chat itself: entries in, answers out, and what Ctrl-C means when."""
import math
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

from nanovlm_ros.chat.conversation import Conversation
from nanovlm_ros.chat.entries import (
    Command, Entry, Picture, Text, is_url, read_entry, shown)
from nanovlm_ros.chat.lines import Lines
from nanovlm_ros.chat.screen import Screen
from nanovlm_ros.chat.url import fetch_picture
from nanovlm_ros.pictures import read_picture
from nanovlm_ros.types import CANCELED, ErrorCode, Frame, NanoVlmError

TWICE = 1.0  # s, between two Ctrl-C that are one wish
HINT = 'Type a question, or a picture first; /help tells what else there is.'
HELP = '''\
Type a question, or
  a picture         a path or an http(s) address: the next question is about it
  a .txt or .json   the question in it, or its list of pictures and questions
  reset, clear      forget the pictures and all that was said
  /help             this
  /exit, Ctrl-D     the end
Ctrl-C stops an answer or empties the line; at an empty prompt it is the end.'''


class Program:
    """Runs entries through a conversation; for the main thread."""

    def __init__(self, conversation: Conversation, screen: Screen, *, json: bool):
        self._conversation, self._screen, self._json = conversation, screen, json
        self.failed = 0  # questions without the answer that was asked for

    def run_list(self, entries: Sequence[Entry]) -> None:
        """Run all of a list. Raises NanoVlmError for a picture that cannot be shown."""
        with self._stoppable():
            for entry in entries:
                self._echo(entry)
                if not self._run(entry):
                    return

    def converse(self, lines: Lines) -> None:
        """Run what is typed until it ends; what cannot be done is told and no end."""
        with self._stoppable():
            for line in lines:
                unseen = not lines.typing or line.strip().lower().endswith(('.txt', '.json'))
                try:
                    for entry in read_entry(line, self._screen.note):
                        if unseen:
                            self._echo(entry)
                        if not self._run(entry):
                            return
                except NanoVlmError as error:
                    self._screen.note(error.message)
                    self.failed += 1

    def _run(self, entry: Entry) -> bool:
        """Do what an entry asks for; False when that is to end the chat."""
        if isinstance(entry, Picture):
            frame = self._open(entry.source)
            self._conversation.show(frame)
            self._screen.picture(frame)
        elif isinstance(entry, Text):
            self._ask(entry.text)
        elif entry.name == 'reset':
            self._conversation.reset()
            self._screen.note('The chat is empty.')
        elif entry.name == 'help':
            self._screen.text(HELP)
        return entry != Command('exit')

    def _open(self, source: str) -> Frame:
        try:
            return fetch_picture(source) if is_url(source) else read_picture(Path(source))
        except KeyboardInterrupt:
            raise NanoVlmError(ErrorCode.CANCELED,
                               f'{shown(source)} was not opened: stopped by Ctrl-C.') from None

    def _ask(self, text: str) -> None:
        writer = self._screen.answer(self._json)
        try:
            try:
                answer = self._conversation.ask(text, writer.feed)
            except BaseException:  # Ctrl-C that ends the chat is one
                writer.abandon()
                raise
        except NanoVlmError as error:
            self._screen.note(error.message)
            self.failed += 1
            return
        writer.finish()
        if answer.finish_reason == CANCELED:
            self._screen.note('Stopped; neither the question nor the answer is remembered.')
        elif self._json:
            self._screen.document(answer)
        self.failed += bool(answer.error_message)
        self._screen.ended(answer)

    def _echo(self, entry: Entry) -> None:
        self._screen.echo(
            entry.name if isinstance(entry, Command) else entry.text if isinstance(entry, Text)
            else shown(entry.source))

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Within it Ctrl-C stops the answer that is being made, and ends the chat otherwise."""
        last = -math.inf

        def on_interrupt(*_) -> None:
            nonlocal last
            before, last = last, time.monotonic()
            # Twice is meant for the whole, though the next answer of a list has begun already.
            if last - before < TWICE or not self._conversation.stop():
                raise KeyboardInterrupt

        previous = signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
