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
from concurrent.futures import Future
from typing import Callable, Dict, Iterable, List, Optional

import numpy as np

from nanovlm_ros.engine.admission import check_query
from nanovlm_ros.engine.ends import CLOSING, REPLACED, End, end_of
from nanovlm_ros.engine.request import Request, Ticket
from nanovlm_ros.engine.request_queue import RequestQueue
from nanovlm_ros.engine.stats import ExecutorStats, Meter
from nanovlm_ros.engine.structured import compile_schema
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import (
    ERROR, LENGTH, STOP, Answer, ErrorCode, NanoVlmError, Query, TextChunk)

LOG = logging.getLogger(__name__)


class MlcExecutor:
    """Runs queries on one thread of its own; every public method may be called from any."""

    def __init__(self, load: Callable, *, queue_size: int = 8, max_sequences: int = 4):
        self._load = load
        self._max_sequences = max_sequences
        self._queue = RequestQueue(queue_size)
        self._running: List[Request] = []
        self._conversation: List[Turn] = []
        self._resets: List['Future[None]'] = []
        self._meter = Meter()
        # Guards which requests wait and run, and the flags below.
        self._changed = threading.Condition()
        self._stopping = False
        self._abandoned = ''  # why, once it is
        self._model = None
        self._loaded: 'Future[None]' = Future()
        self._thread = threading.Thread(target=self._main, name='mlc-executor', daemon=True)

    # -- called from any thread ---------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; return when the model is loaded, raise what loading raised."""
        self._thread.start()
        try:
            self._loaded.result()
        except BaseException:
            self._thread.join()
            raise

    @property
    def model(self):
        """The model, for its constant attributes only."""
        return self._model

    def submit(self, query: Query, on_chunk: Callable[[TextChunk], None],
               on_answer: Callable[[Answer], None], *, live: bool = False) -> Ticket:
        """Accept a query, which then ends exactly once: a last chunk, then an answer.

        The callbacks run on the executor's thread, or on the one that ended the
        request (by a newer live tick, `abandon` or `shutdown`), and must not block.
        Live ticks come after queries, and a newer one replaces the one that waits.
        Raises NanoVlmError INVALID_REQUEST, BAD_SCHEMA, QUEUE_FULL, NOT_READY or
        SHUTTING_DOWN; then no callback is called.
        """
        model = self._model
        self._check_open()
        if model is None:
            raise NanoVlmError(ErrorCode.NOT_READY,
                               'The model is not loaded yet; try again later.')
        check_query(query, model.context_length, model.max_images)
        schema = compile_schema(query.json_schema, model.tokenizer)
        request = Request(query, schema, on_chunk, on_answer, live, model.name, self._wake)
        with self._changed:
            self._check_open()
            replaced = self._queue.put(request)
            self._changed.notify()
        if replaced is not None:
            self._end(replaced, REPLACED)
        return Ticket(request)

    def reset(self) -> None:
        """Forget the conversation and the cached prefixes; return when it is done.

        Takes effect between two steps: what runs goes on, but is not remembered.
        Raises what the model raised, NOT_READY when the executor was abandoned and
        SHUTTING_DOWN when it ends. Not for callbacks: those run on the thread that it
        waits for.
        """
        done: 'Future[None]' = Future()
        with self._changed:
            self._check_open()
            self._resets.append(done)
            self._changed.notify()
        done.result()

    def stats(self) -> ExecutorStats:
        """Return counts and speeds as of now."""
        return self._meter.read(len(self._queue), len(self._running), self._queue.live_missed)

    def abandon(self, message: str) -> None:
        """End everything with MODEL_ERROR, now, because a step is stuck; take no more.

        What the step brings, should it ever return, is dropped.
        """
        with self._changed:
            self._abandoned = message
        self._end_all((ERROR, ErrorCode.MODEL_ERROR, message))

    def shutdown(self, timeout: float = 10.0) -> bool:
        """End everything with SHUTTING_DOWN, free the model; True if the thread ended in time.

        May be called again. When a step takes longer than `timeout`, its requests end
        here and now, and the model is freed whenever the step returns.
        """
        with self._changed:
            self._stopping = True
            waiting = self._queue.drain()
            self._changed.notify()
        for request in waiting:
            self._end(request, CLOSING)
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._end_all(CLOSING)
        return not self._thread.is_alive()

    # -- on the thread ------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._model = self._load()
        except BaseException as error:
            self._loaded.set_exception(error)  # start() raises it
            return
        self._loaded.set_result(None)
        while self._wait_for_work():
            try:
                self._turn()
            except Exception as error:  # no failure of a request comes so far
                LOG.exception('The executor failed between two steps; what ran has ended.')
                for request in list(self._running):
                    self._fail(request, error)
        for request in list(self._running):
            self._end_running(request, CLOSING)
        self._end_all(CLOSING)  # resets that wait
        model, self._model = self._model, None
        try:
            model.close()
        except Exception:
            LOG.exception('The model could not be closed.')

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._stopping or self._running or self._resets or len(self._queue)):
                self._changed.wait()
            return not self._stopping

    def _turn(self) -> None:
        self._forget_if_asked()
        self._end_what_is_due()
        self._take_up()
        self._decode()

    def _forget_if_asked(self) -> None:
        with self._changed:
            resets, self._resets = self._resets, []
        if not resets:
            return
        self._conversation = []  # what runs goes on with the old one, which nobody continues
        for request in self._running:
            request.keep_rows = False
        try:
            self._model.reset()
        except Exception as error:
            LOG.exception('The model could not be reset.')
            _settle(resets, error)
        else:
            _settle(resets)

    def _end_what_is_due(self) -> None:
        for request in self._queue.remove(lambda request: request.due() is not None):
            self._end(request, request.due())
        for request in list(self._running):
            end = request.due()
            if end is not None:
                self._end_running(request, end)
            elif request.done:  # abandoned
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
            for stage in (self._prepare, self._see, self._prefill):
                end = request.due()
                if end is not None:
                    self._end_running(request, end)
                    return
                stage(request)
        except Exception as error:
            self._fail(request, error)

    def _prepare(self, request: Request) -> None:
        with self._meter.step(request.seconds, 'preprocess'):
            request.prepare(self._model, self._conversation)
            self._model.preprocess(request.prompt)

    def _see(self, request: Request) -> None:
        with self._meter.step(request.seconds, 'vision'):
            self._model.encode_images(request.prompt)

    def _prefill(self, request: Request) -> None:
        with self._meter.step(request.seconds, 'prefill'):
            request.sequence, request.cached_tokens, logits = self._model.prefill(request.prompt)
        self._take_token(request, logits)

    def _decode(self) -> None:
        """Run one token of every sequence, in one batch."""
        batch = list(self._running)
        if not batch:
            return
        step: Dict[str, float] = {}
        try:
            with self._meter.step(step, 'decode'):
                logits = self._model.decode([r.sequence for r in batch],
                                            [r.next_token for r in batch])
        except Exception as error:
            # A batch that does not fit has changed nothing: the newest gives way to the others.
            full = isinstance(error, NanoVlmError) and error.code == ErrorCode.OUT_OF_MEMORY
            for request in batch[-1:] if full else batch:
                self._fail(request, error)
            return
        self._meter.decoded(len(batch), step['decode'])
        for request, row in zip(batch, logits):
            request.seconds['decode'] = request.seconds.get('decode', 0.0) + step['decode']
            try:
                self._take_token(request, row)
            except Exception as error:
                self._fail(request, error)

    def _take_token(self, request: Request, logits: np.ndarray) -> None:
        reason = request.take(logits, self._model.stop_ids)
        if reason is not None:
            self._end_running(request, (reason, ErrorCode.NONE, ''))

    def _end_running(self, request: Request, end: End) -> None:
        self._leave(request, keep=request.keep_rows and end[0] in (STOP, LENGTH))
        self._end(request, end)

    def _leave(self, request: Request, keep: bool) -> None:
        with self._changed:
            if request in self._running:
                self._running.remove(request)
        sequence, request.sequence = request.sequence, None
        if sequence is None:
            return
        try:
            self._model.release(sequence, keep)
        except Exception:
            LOG.exception('Sequence %s could not be released.', sequence)

    def _fail(self, request: Request, error: Exception) -> None:
        """End one request by an exception; the others go on."""
        end = end_of(error)
        if end[1] == ErrorCode.MODEL_ERROR:
            LOG.error('Request %s failed.', request.query.request_id, exc_info=error)
        self._end_running(request, end)

    # -- on any thread ------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._stopping:
            raise NanoVlmError(*CLOSING[1:])
        if self._abandoned:
            raise NanoVlmError(ErrorCode.NOT_READY, self._abandoned)

    def _end(self, request: Request, end: End) -> None:
        answer = request.finish(*end)
        if answer is None:
            return
        self._meter.ended(answer.error_code)
        if answer.error_code != ErrorCode.NONE:
            LOG.info('Request %s ended with %s: %s', answer.request_id, answer.error_code.name,
                     answer.error_message)

    def _end_all(self, end: End) -> None:
        """End what waits and, for the asker, what runs; its rows are the thread's to free."""
        with self._changed:
            requests = self._queue.drain() + list(self._running)
            resets, self._resets = self._resets, []
        for request in requests:
            self._end(request, end)
        _settle(resets, NanoVlmError(*end[1:]))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()


def _settle(resets: 'Iterable[Future[None]]', error: Optional[Exception] = None) -> None:
    for done in resets:
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
