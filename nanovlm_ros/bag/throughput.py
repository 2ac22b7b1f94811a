# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every question of the plan, as fast as the engine goes: many in flight, none dropped.

Questions are handed over in the order of the rows. So those about one frame, and about
windows that share frames, run together: they share its embedding, prefill and decode.
"""
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Callable, Deque, Tuple

from nanovlm_ros.bag.part import Part
from nanovlm_ros.bag.plan import Ask
from nanovlm_ros.bag.questions import WINDOW
from nanovlm_ros.bag.results import make_row
from nanovlm_ros.bag.source import FrameSource, Shelf
from nanovlm_ros.types import Answer, ErrorCode, Frame, GenerationConfig, NanoVlmError, Query

# Ends that say nothing about the question: the run stops, and goes on later.
FATAL = (ErrorCode.OUT_OF_MEMORY, ErrorCode.NOT_READY, ErrorCode.MODEL_ERROR,
         ErrorCode.SHUTTING_DOWN, ErrorCode.CANCELED, ErrorCode.TIMEOUT)


@dataclass
class Idle:
    """How long the engine had nothing to do while questions were left."""

    seconds: float = 0.0
    _running: int = 0
    _since: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def began(self) -> None:
        """Count a question that the engine has."""
        with self._lock:
            if not self._running:
                self.seconds += time.monotonic() - self._since
            self._running += 1

    def ended(self) -> None:
        """Count one that it has answered."""
        with self._lock:
            self._running -= 1
            self._since = time.monotonic()


def query_of(part: Part, ask: Ask, frames: Tuple[Frame, ...]) -> Query:
    """Return the query as the node would make it; greedy, without a deadline."""
    question = part.questions[ask.question]
    return Query(
        request_id=f'{part.name}-{ask.trigger}-{question.id}-{ask.phrasing}',
        prompt=question.phrasings[ask.phrasing], frames=frames,
        system_prompt=question.system_prompt, json_schema=question.schema_text,
        # One chunk at the end: nobody reads the text as it grows.
        stream_period=float('inf'),
        config=GenerationConfig(max_new_tokens=question.max_new_tokens))


def without_broken(part: Part, ask: Ask, frames: Tuple[Frame, ...]
                   ) -> Tuple[Ask, Tuple[Frame, ...]]:
    """Leave out of a window what cannot be decoded, as the node's windows do."""
    if part.questions[ask.question].source != WINDOW or all(frame.broken for frame in frames):
        return ask, frames
    good = [i for i, frame in enumerate(frames) if not frame.broken]
    return ask._replace(frames=tuple(ask.frames[i] for i in good)), tuple(frames[i] for i in good)


def submit(executor, part: Part, ask: Ask, frames: Tuple[Frame, ...], idle: Idle
           ) -> 'Future[Answer]':
    """Hand a question over; the future has its answer. Raises what the engine refuses."""
    future: 'Future[Answer]' = Future()

    def on_answer(answer: Answer) -> None:
        idle.ended()
        future.set_result(answer)

    idle.began()
    try:
        executor.submit(query_of(part, ask, frames), lambda chunk: None, on_answer)
    except NanoVlmError as error:
        idle.ended()
        raise NanoVlmError(error.code, f'Question {part.questions[ask.question].id!r}: '
                                       f'{error.message}') from error
    return future


def answer_of(future: 'Future[Answer]') -> Answer:
    """Wait for an answer; raise where the engine could not give one."""
    answer = future.result()
    if answer.error_code in FATAL:
        raise NanoVlmError(answer.error_code,
                           f'The engine stopped: {answer.error_message} What was answered before '
                           'is kept; the same command goes on from there.')
    return answer


def run_part(executor, part: Part, in_flight: int, idle: Idle, config: str,
             on_row: Callable[[dict], None]) -> None:
    """Ask everything in a part; `on_row` gets the rows in order."""
    pending: Deque[Tuple[Ask, 'Future[Answer]']] = deque()

    def hand_on() -> None:
        ask, future = pending.popleft()
        on_row(make_row(part, ask, answer_of(future), config))

    with FrameSource(part) as source:
        shelf = Shelf(source, part)
        for ask in part.asks:
            ask, frames = without_broken(part, ask, shelf.take(ask.frames, ask.trigger))
            while len(pending) >= in_flight or (pending and pending[0][1].done()):
                hand_on()
            pending.append((ask, submit(executor, part, ask, frames, idle)))
        while pending:
            hand_on()
