# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every question of the plan, as fast as the engine goes: many in flight, none dropped.

Questions are handed over in the order of the rows. So those about one frame, and about
windows that share frames, run together: they share its embedding, prefill and decode.
"""
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Callable, Deque, Dict, List, Sequence, Tuple

from nanovlm_ros.bag.measured import Busy
from nanovlm_ros.bag.part import Part
from nanovlm_ros.bag.plan import Ask
from nanovlm_ros.bag.questions import WINDOW
from nanovlm_ros.bag.results import make_row
from nanovlm_ros.bag.source import FrameSource, Shelf
from nanovlm_ros.types import Answer, ErrorCode, Frame, GenerationConfig, NanoVlmError, Query

# Ends that say nothing about the question: the run stops, and goes on later.
FATAL = (ErrorCode.OUT_OF_MEMORY, ErrorCode.NOT_READY, ErrorCode.MODEL_ERROR,
         ErrorCode.SHUTTING_DOWN, ErrorCode.CANCELED, ErrorCode.TIMEOUT)
Asked = Tuple[Ask, Tuple[Frame, ...]]


def query_of(part: Part, ask: Ask, frames: Tuple[Frame, ...]) -> Query:
    """Return the query as the node would make it; greedy, without a deadline.

    Its id is of its own in a tick: one question may be asked about several cameras.
    """
    question = part.questions[ask.question]
    return Query(
        request_id=f'{part.name}-{ask.trigger}-{ask.frames[-1]}-{question.id}-{ask.phrasing}',
        prompt=question.phrasings[ask.phrasing], frames=frames,
        system_prompt=question.system_prompt, json_schema=question.schema_text,
        # One chunk at the end: nobody reads the text as it grows.
        stream_period=float('inf'),
        config=GenerationConfig(max_new_tokens=question.max_new_tokens))


def without_broken(part: Part, ask: Ask, frames: Tuple[Frame, ...]) -> Asked:
    """Leave out of a window what cannot be decoded, as the node's windows do."""
    if part.questions[ask.question].source != WINDOW or all(frame.broken for frame in frames):
        return ask, frames
    good = [i for i, frame in enumerate(frames) if not frame.broken]
    return ask._replace(frames=tuple(ask.frames[i] for i in good)), tuple(frames[i] for i in good)


def submit(executor, part: Part, asked: Sequence[Asked], busy: Busy, tick: bool = False
           ) -> 'List[Future[Answer]]':
    """Hand one question over, or all those of a `tick`; the futures have their answers.

    Raises what the engine refuses, with the names of the questions.
    """
    queries = [query_of(part, ask, frames) for ask, frames in asked]
    futures: 'Dict[str, Future[Answer]]' = {query.request_id: Future() for query in queries}
    hand_over = partial(executor.submit_tick, queries) if tick else partial(
        executor.submit, *queries)

    def on_answer(answer: Answer) -> None:
        busy.ended()
        futures[answer.request_id].set_result(answer)

    busy.began(len(queries))
    try:
        accepted = hand_over(lambda chunk: None, on_answer)
    except NanoVlmError as error:
        busy.ended(len(queries))
        names = ', '.join(dict.fromkeys(repr(part.questions[ask.question].id) for ask, _ in asked))
        raise NanoVlmError(error.code, f'Question {names}: {error.message}') from error
    assert accepted  # the engine misses a tick only while another one runs
    return list(futures.values())


def answer_of(future: 'Future[Answer]') -> Answer:
    """Wait for an answer; raise where the engine could not give one."""
    answer = future.result()
    if answer.error_code in FATAL:
        raise NanoVlmError(answer.error_code,
                           f'The engine stopped: {answer.error_message} What was answered before '
                           'is kept; the same command goes on from there.')
    return answer


def run_part(executor, part: Part, in_flight: int, busy: Busy, config: str,
             on_row: Callable[[dict], None]) -> None:
    """Ask everything in a part; `on_row` gets the rows in order."""
    pending: Deque[Tuple[Ask, 'Future[Answer]']] = deque()

    def hand_on() -> None:
        ask, future = pending.popleft()
        on_row(make_row(part, ask, answer_of(future), config))

    with FrameSource(part) as source:
        shelf = Shelf(source, part)
        for ask in part.asks:
            asked = without_broken(part, ask, shelf.take(ask.frames, ask.trigger))
            while len(pending) >= in_flight or (pending and pending[0][1].done()):
                hand_on()
            future, = submit(executor, part, [asked], busy)
            pending.append((asked[0], future))
        while pending:
            hand_on()
