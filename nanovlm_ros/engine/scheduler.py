# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Who computes next: continuous batching over the model, on the executor's thread.

Each turn ends what was canceled or is late, takes up one waiting request, and
runs one decode step of all running ones together. So a query joins a running
batch after its prefill, and no flag waits longer than one step.
"""
import logging
import threading
import time
from typing import Callable, Dict, List

import numpy as np

from nanovlm_ros.engine.ends import End, end_of
from nanovlm_ros.engine.request import Request
from nanovlm_ros.engine.request_queue import RequestQueue
from nanovlm_ros.engine.stats import Meter
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import LENGTH, STOP, ErrorCode, NanoVlmError

LOG = logging.getLogger(__name__)


class Scheduler:
    """Drives the sequences of one model; a failing one never harms its neighbours.

    `lock` guards the way of a request from `queue` to `running`, so that whoever
    holds it sees each request in one of the two; `end(request, how)` hands over
    an answer.
    """

    def __init__(self, model, queue: RequestQueue, meter: Meter, lock: threading.Condition,
                 max_sequences: int, end: Callable[[Request, End], None]):
        self._model, self._queue, self._meter, self._lock = model, queue, meter, lock
        self._max_sequences, self._end = max_sequences, end
        self._conversation: List[Turn] = []
        self.running: List[Request] = []

    def turn(self) -> None:
        """Do the next piece of work."""
        self._end_what_is_due()
        self._take_up()
        self._decode()

    def forget(self) -> None:
        """Forget the conversation and the cached prefixes."""
        self._conversation = []  # what runs goes on with the old one, which nobody continues
        for request in self.running:
            request.keep_rows = False
        self._model.reset()

    def fail_all(self, error: Exception) -> None:
        """End what runs by an exception."""
        for request in list(self.running):
            self._fail(request, error)

    def close(self, how: End) -> None:
        """End what runs, and free the model."""
        for request in list(self.running):
            self._end_running(request, how)
        model, self._model = self._model, None  # this thread holds the last reference
        try:
            model.close()
        except Exception:  # there is nobody left to tell but the log
            LOG.exception('The model could not be closed.')

    def _end_what_is_due(self) -> None:
        for request in self._queue.remove(lambda request: request.due() is not None):
            self._end(request, request.due())
        for request in list(self.running):
            end = request.due()
            if end is not None:
                self._end_running(request, end)
            elif request.done:  # abandoned
                self._leave(request, keep=False)

    def _take_up(self) -> None:
        """Prefill the next request, if there is one and room for it."""
        chatting = any(request.query.keep_history for request in self.running)
        with self._lock:
            if len(self.running) >= self._max_sequences:
                return
            request = self._queue.get(skip_history=chatting)
            if request is None:
                return
            self.running.append(request)
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
        batch = list(self.running)
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
        with self._lock:
            if request in self.running:
                self.running.remove(request)
        sequence, request.sequence = request.sequence, None
        if sequence is None:
            return
        try:
            self._model.release(sequence, keep)
        except Exception:  # the request has its answer all the same
            LOG.exception('Sequence %s could not be released.', sequence)

    def _fail(self, request: Request, error: Exception) -> None:
        """End one request by an exception; the others go on."""
        end = end_of(error)
        if end[1] == ErrorCode.MODEL_ERROR:
            LOG.error('Request %s failed.', request.query.request_id, exc_info=error)
        self._end_running(request, end)
