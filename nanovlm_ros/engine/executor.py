# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one inference thread: it creates, uses and frees the model.

Other threads submit, cancel, reset, watch and shut down; the `Scheduler` decides
on this one what is computed next.
"""
import logging
import threading
from concurrent.futures import Future, wait
from typing import Callable, Iterable, List, Optional, Sequence

from nanovlm_ros.engine.admission import check_query
from nanovlm_ros.engine.ends import CLOSING, REPLACED, End
from nanovlm_ros.engine.interrupt import stop_when
from nanovlm_ros.engine.request import Request, Ticket
from nanovlm_ros.engine.request_queue import RequestQueue
from nanovlm_ros.engine.scheduler import Scheduler
from nanovlm_ros.engine.stats import ExecutorStats, Meter
from nanovlm_ros.engine.structured import compile_schema
from nanovlm_ros.engine.watched import Watched
from nanovlm_ros.engine.window import Generation
from nanovlm_ros.types import ERROR, Answer, ErrorCode, NanoVlmError, Query, TextChunk

LOG = logging.getLogger(__name__)


class MlcExecutor:
    """Runs queries on one thread of its own; every public method may be called from any."""

    def __init__(self, load: Callable, *, queue_size: int = 8, max_sequences: int = 4,
                 prefill_chunk: int = 0):
        """`prefill_chunk` is in rows of prompts a step; 0 leaves it to the model."""
        self._load = load
        self._limits = {'max_sequences': max_sequences, 'prefill_chunk': prefill_chunk}
        self._queue, self._watched = RequestQueue(queue_size), Watched()
        self._scheduler: Optional[Scheduler] = None  # as soon as there is a model
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
        try:
            self._thread.start()
            while not self._loaded.done():  # a signal that comes before a wait is seen after it
                wait([self._loaded], timeout=0.2)
            self._loaded.result()
        except BaseException:
            if not self._loaded.done() or self._loaded.exception() is None:
                with self._changed:  # Ctrl-C: the thread is not to serve the model that it loads
                    self._stopping = True
                    self._changed.notify()
            if self._thread.is_alive():
                self._thread.join()
            raise

    @property
    def model(self):
        """The model, for its constant attributes only."""
        return self._model

    def submit(self, query: Query, on_chunk: Callable[[TextChunk], None],
               on_answer: Callable[[Answer], None]) -> Ticket:
        """Accept a query, which then ends exactly once: a last chunk, then an answer.

        The callbacks run on the executor's thread, or on the one that ended the
        request (`submit_tick`, `abandon` or `shutdown`), and must not block.
        Raises NanoVlmError INVALID_REQUEST, BAD_SCHEMA, QUEUE_FULL, NOT_READY or
        SHUTTING_DOWN; then no callback is called.
        """
        request = self._accept(query, on_chunk, on_answer, live=False)
        with self._changed:
            self._open_model()
            self._queue.put(request)
            self._changed.notify()
        return Ticket(request)

    def submit_tick(self, queries: Sequence[Query], on_chunk: Callable[[TextChunk], None],
                    on_answer: Callable[[Answer], None]) -> List[Ticket]:
        """Accept the questions of a live tick, all or none; each then ends exactly once.

        They run together, after queries. What still waits of the tick before ends as
        replaced by this one; while some of it runs, this one is missed: there is no ticket.
        Raises as `submit` does.
        """
        requests = [self._accept(query, on_chunk, on_answer, live=True) for query in queries]
        with self._changed:
            self._open_model()
            if any(request.live for request in self._running):
                return []
            replaced = self._queue.put_tick(requests)
            self._changed.notify()
        for request in replaced:
            self._end(request, REPLACED)
        return [Ticket(request) for request in requests]

    def watch(self, window: str, generations: Sequence[Generation], rolling: bool = True,
              system_prompt: str = '') -> None:
        """Prepare for questions about a window's frames, as work allows (`FrameWindow`).

        The frames of a `rolling` one are kept in the KV cache, and a query about them names the
        generation and has this system prompt; those of others pass the vision tower. None: the
        window is given up.
        """
        with self._changed:
            self._open_model()
            self._watched.put(window, generations, rolling, system_prompt)
            self._changed.notify()

    def reset(self) -> None:
        """Forget the conversation and the cached prefixes; return when it is done.

        Takes effect between two steps: what runs goes on, but is not remembered.
        Raises what the model raised, NOT_READY when the executor was abandoned and
        SHUTTING_DOWN when it ends. Not for callbacks: those run on the thread that it
        waits for.
        """
        done: 'Future[None]' = Future()
        with self._changed:
            self._open_model()
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
        stop_when(lambda: self._stopping)
        try:
            model = self._load()
        except BaseException as error:
            self._loaded.set_exception(error)  # start() raises it
            return
        self._limits['prefill_chunk'] = self._limits['prefill_chunk'] or model.prefill_chunk
        scheduler = self._scheduler = Scheduler(
            model, self._queue, self._watched, self._meter, self._changed, self._end,
            **self._limits)
        self._model = model
        self._loaded.set_result(None)
        while self._wait_for_work():
            try:
                self._forget_if_asked(scheduler)
                scheduler.turn()
            except Exception as error:  # no failure of a request comes so far
                LOG.exception('The executor failed between two steps; what ran has ended.')
                scheduler.fail_all(error)
        self._model = None
        scheduler.close(CLOSING)
        self._end_all(CLOSING)  # resets that wait

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._stopping or self._running or self._resets or len(self._queue)
                       or len(self._watched)):
                self._changed.wait()
            return not self._stopping

    def _forget_if_asked(self, scheduler: Scheduler) -> None:
        with self._changed:
            resets, self._resets = self._resets, []
        if not resets:
            return
        try:
            scheduler.forget()
        except Exception as error:
            LOG.exception('The model could not be reset.')
            _settle(resets, error)
        else:
            _settle(resets)

    # -- on any thread ------------------------------------------------------------------------

    @property
    def _running(self) -> List[Request]:
        return self._scheduler.running if self._scheduler is not None else []

    def _accept(self, query: Query, on_chunk, on_answer, live: bool) -> Request:
        model = self._open_model()
        check_query(query, model.context_length, model.max_images)
        schema = compile_schema(query.json_schema, model.tokenizer)
        return Request(query, schema, on_chunk, on_answer, live, model.name, self._wake)

    def _open_model(self):
        """Return the model if requests are taken; raise what keeps them out."""
        model = self._model
        if self._stopping:
            raise NanoVlmError(*CLOSING[1:])
        if self._abandoned:
            raise NanoVlmError(ErrorCode.NOT_READY, self._abandoned)
        if model is None:
            raise NanoVlmError(ErrorCode.NOT_READY,
                               'The model is not loaded yet; try again later.')
        return model

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
