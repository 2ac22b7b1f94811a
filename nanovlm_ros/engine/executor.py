# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one inference thread: it creates, uses and frees the model.

Each turn of its loop ends what was canceled or is late, takes up one waiting
request, and runs one decode step of all running ones together. So a query joins
a running batch after its prefill, and no flag waits longer than one step.
"""
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, List, Optional

from nanovlm_ros.engine.admission import check_query
from nanovlm_ros.engine.request_queue import RequestQueue
from nanovlm_ros.engine.request import Request, Ticket
from nanovlm_ros.engine.sampler import Sampler
from nanovlm_ros.engine.structured import compile_schema
from nanovlm_ros.engine.text_stream import TextStream
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import (
    CANCELED, ERROR, LENGTH, STOP, TIMEOUT, Answer, ErrorCode, NanoVlmError, Query, TextChunk)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutorStats:
    """A reading of the executor."""

    queued: int
    running: int
    completed: int            # requests that ended without an error
    failed: int
    live_missed: int          # live ticks replaced by newer ones
    tokens_per_second: float  # of decode steps, moving average
    stuck_for: float          # s since the current step began; 0 when idle


class MlcExecutor:
    """Runs queries on one thread of its own; every public method may be called from any."""

    def __init__(self, load: Callable[[], Any], *, queue_size: int = 8, max_sequences: int = 4):
        self._load = load
        self._max_sequences = max_sequences
        self._queue = RequestQueue(queue_size)
        self._running: List[Request] = []
        self._history: List[Turn] = []
        self._changed = threading.Condition()
        self._reset_done: List[threading.Event] = []
        self._model: Any = None
        self._stopping = False
        self._abandoned = ''
        self._load_error: Optional[BaseException] = None
        self._ready = threading.Event()
        self._step_began: Optional[float] = None
        self._completed = self._failed = 0
        self._rate = 0.0
        self._thread = threading.Thread(target=self._main, name='mlc-executor', daemon=True)

    # -- called from any thread ---------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; return when the model is loaded, raise what loading raised."""
        self._thread.start()
        self._ready.wait()
        if self._load_error is not None:
            self._thread.join()
            raise self._load_error

    @property
    def model(self):
        """The model, for its constant attributes only."""
        return self._model

    def submit(self, query: Query, on_chunk: Callable[[TextChunk], None],
               on_answer: Callable[[Answer], None], *, live: bool = False) -> Ticket:
        """Accept a query, which then ends exactly once: a last chunk, then an answer.

        The callbacks run on the executor's thread (at shutdown on the caller's) and
        must not block. Live ticks come after queries, and a newer one replaces the
        one that waits. Raises NanoVlmError INVALID_REQUEST, BAD_SCHEMA, QUEUE_FULL,
        NOT_READY or SHUTTING_DOWN; then no callback is called.
        """
        model = self._model
        if self._stopping:
            raise NanoVlmError(ErrorCode.SHUTTING_DOWN, 'The node is shutting down.')
        if model is None or self._abandoned:
            raise NanoVlmError(ErrorCode.NOT_READY,
                               self._abandoned or 'The model is not loaded yet; try again later.')
        check_query(query, model.context_length, model.max_images)
        schema = compile_schema(query.json_schema, model.tokenizer)
        request = Request(query, schema, on_chunk, on_answer, live, model.name, self._wake)
        with self._changed:
            if self._stopping:
                raise NanoVlmError(ErrorCode.SHUTTING_DOWN, 'The node is shutting down.')
            replaced = self._queue.put(request)
            self._changed.notify()
        if replaced is not None:
            self._end(replaced, CANCELED, ErrorCode.CANCELED,
                      'A newer live frame took the place of this one.')
        return Ticket(request)

    def reset(self) -> None:
        """Forget the conversation and the cached prefixes; return when it is done."""
        done = threading.Event()
        with self._changed:
            if not self._alive():
                return
            self._reset_done.append(done)
            self._changed.notify()
        done.wait()

    def stats(self) -> ExecutorStats:
        """Return counts and speeds as of now."""
        began = self._step_began
        return ExecutorStats(
            queued=len(self._queue), running=len(self._running), completed=self._completed,
            failed=self._failed, live_missed=self._queue.live_missed,
            tokens_per_second=self._rate,
            stuck_for=time.monotonic() - began if began is not None else 0.0)

    def abandon(self, message: str) -> None:
        """End everything with MODEL_ERROR, now, because a step is stuck; take no more."""
        with self._changed:
            self._abandoned = message
            requests = self._queue.drain() + list(self._running)
        for request in requests:
            self._end(request, ERROR, ErrorCode.MODEL_ERROR, message)

    def shutdown(self, timeout: float = 10.0) -> bool:
        """End everything with SHUTTING_DOWN, free the model; True if the thread ended in time."""
        with self._changed:
            self._stopping = True
            waiting = self._queue.drain()
            self._changed.notify()
        for request in waiting:
            self._end(request, ERROR, ErrorCode.SHUTTING_DOWN, 'The node is shutting down.')
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- on the thread ------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._model = self._load()
        except BaseException as error:  # handed to start(), which raises it
            self._load_error = error
            return
        finally:
            self._ready.set()
        try:
            while self._wait_for_work():
                self._turn()
        finally:
            for request in list(self._running):
                self._end_running(request, ERROR, ErrorCode.SHUTTING_DOWN,
                                  'The node is shutting down.')
            self._model.close()
            self._model = None
            with self._changed:
                waiting, self._reset_done = self._reset_done, []
            for done in waiting:
                done.set()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._stopping or self._running or self._reset_done or len(self._queue)):
                self._changed.wait()
            return not self._stopping

    def _turn(self) -> None:
        self._do_resets()
        self._end_overdue()
        self._take_up()
        self._decode()

    def _do_resets(self) -> None:
        with self._changed:
            waiting, self._reset_done = self._reset_done, []
        if waiting:
            self._history.clear()
            self._model.reset()
        for done in waiting:
            done.set()

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for request in self._queue.remove(lambda r: r.canceled or r.query.deadline <= now):
            self._end(request, *_reason_to_stop(request))
        for request in list(self._running):
            if request.canceled or request.query.deadline <= now:
                self._end_running(request, *_reason_to_stop(request))
            elif request.done:  # abandoned from another thread
                self._leave(request, keep=False)

    def _take_up(self) -> None:
        """Prefill the next request, if there is one and room for it."""
        chatting = any(request.query.keep_history for request in self._running)
        with self._changed:
            if len(self._running) >= self._max_sequences:
                return
            request = self._queue.get(skip_history=chatting)
            if request is None:
                return
            self._running.append(request)
        request.seconds['queued'] = time.monotonic() - request.accepted
        try:
            logits = self._prefill(request)
            self._after_logits(request, logits)
        except Exception as error:
            self._fail(request, error)

    def _prefill(self, request: Request):
        model, query = self._model, request.query
        with self._step(request, 'preprocess'):
            history = self._history if query.keep_history else []
            request.turns = [*history, Turn(request.user_text, query.frames)]
            request.prompt = model.tokenize(request.turns, query.system_prompt)
            room = model.context_length - request.prompt.n_tokens
            if room < 1:
                raise NanoVlmError(
                    ErrorCode.CONTEXT_OVERFLOW,
                    f'The prompt takes {request.prompt.n_tokens} tokens and the context holds '
                    f'{model.context_length}; ask with fewer or no images, a shorter prompt'
                    + (', or forget the conversation with ~/reset.' if history else '.'))
            model.preprocess(request.prompt)
            request.budget = min(query.config.max_new_tokens, room)
            request.sampler = Sampler(query.config, request.prompt.text_ids, model.vocab_size)
            request.stream = TextStream(model.tokenizer, query.config.stop + model.stop_strings)
            if request.schema is not None:
                request.constraint = request.schema.constraint(model.vocab_size)
        with self._step(request, 'vision'):
            model.encode_images(request.prompt)
        with self._step(request, 'prefill'):
            request.sequence, request.cached_tokens, logits = model.prefill(request.prompt)
        return logits

    def _decode(self) -> None:
        """Run one token of every sequence, in one batch."""
        batch = list(self._running)
        if not batch:
            return
        began = time.monotonic()
        try:
            with self._step():
                logits = self._model.decode([r.sequence for r in batch],
                                            [r.next_token for r in batch])
        except Exception as error:
            for request in batch:
                self._fail(request, error)
            return
        spent = time.monotonic() - began
        self._rate = 0.9 * self._rate + 0.1 * len(batch) / max(spent, 1e-9)
        for request, row in zip(batch, logits):
            request.seconds['decode'] = request.seconds.get('decode', 0.0) + spent
            try:
                self._after_logits(request, row)
            except Exception as error:
                self._fail(request, error)

    def _after_logits(self, request: Request, logits) -> None:
        reason = request.take(logits, self._model.stop_ids)
        if reason is not None:
            self._end_running(request, reason)

    def _end_running(self, request: Request, reason: str, code: ErrorCode = ErrorCode.NONE,
                     message: str = '') -> None:
        good = reason in (STOP, LENGTH)
        # The history is complete before the asker can ask again.
        if good and request.query.keep_history and not request.done:
            text = request.stream.text
            self._history = [*request.turns[:-1],
                             Turn(request.user_text, request.query.frames, text)]
        self._leave(request, keep=good)
        self._end(request, reason, code, message)

    def _leave(self, request: Request, keep: bool) -> None:
        with self._changed:
            self._running.remove(request)
        if request.sequence is not None:
            self._model.release(request.sequence, keep)

    def _fail(self, request: Request, error: Exception) -> None:
        """End one request by an exception; the others go on."""
        if isinstance(error, NanoVlmError):
            code, message = error.code, error.message
        elif isinstance(error, MemoryError):
            code, message = ErrorCode.OUT_OF_MEMORY, f'Out of memory: {error}'
        else:
            code, message = ErrorCode.MODEL_ERROR, f'{type(error).__name__}: {error}'
            LOG.error('Request %s failed.', request.query.request_id, exc_info=error)
        self._end_running(request, ERROR, code, message)

    # -- helpers ------------------------------------------------------------------------------

    def _end(self, request: Request, reason: str, code: ErrorCode = ErrorCode.NONE,
             message: str = '') -> None:
        if not request.finish(reason, code, message):
            return
        with self._changed:
            if code == ErrorCode.NONE:
                self._completed += 1
            else:
                self._failed += 1

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _alive(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    def _step(self, request: Optional[Request] = None, name: str = '') -> '_Step':
        return _Step(self, request, name)


class _Step:
    """Times a piece of work on the thread and shows the watchdog that it goes on."""

    def __init__(self, executor: MlcExecutor, request: Optional[Request], name: str):
        self._executor, self._request, self._name = executor, request, name

    def __enter__(self) -> None:
        self._executor._step_began = time.monotonic()

    def __exit__(self, *_) -> None:
        began, self._executor._step_began = self._executor._step_began, None
        if self._request is not None:
            self._request.seconds[self._name] = time.monotonic() - began


def _reason_to_stop(request: Request):
    if request.canceled:
        return CANCELED, ErrorCode.CANCELED, 'The request was canceled.'
    return TIMEOUT, ErrorCode.TIMEOUT, (
        'The deadline passed before the answer was complete; allow more time or ask for fewer '
        'tokens.')
