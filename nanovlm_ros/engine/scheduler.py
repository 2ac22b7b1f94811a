# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Who computes next: continuous batching over the model, on the executor's thread.

Each turn ends what was canceled or is late, admits what there is room for, passes one image
through the vision tower, and runs one step: a token of every sequence that decodes, and of the
prompts that are being filled no more than `prefill_chunk` rows together. So a query joins a
running batch, no running answer waits longer than an image and a chunk, and no flag longer than
a turn. Queries go before live ticks, and both before the frames of rolling windows.
"""
import logging
import threading
import time
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from nanovlm_ros.engine.ends import End, end_of
from nanovlm_ros.engine.request import Request
from nanovlm_ros.engine.request_queue import RequestQueue
from nanovlm_ros.engine.stats import Meter
from nanovlm_ros.engine.watched import Watched
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import LENGTH, STOP, ErrorCode, NanoVlmError

LOG = logging.getLogger(__name__)
Work = Tuple[Request, int]  # rows of its prompt to run; 0: one token


class Scheduler:
    """Drives the sequences of one model; a failing one never harms its neighbours.

    `lock` guards the way of a request from `queue` to `running`, so that whoever
    holds it sees each request in one of the two; `end(request, how)` hands over
    an answer.
    """

    def __init__(self, model, queue: RequestQueue, watched: Watched, meter: Meter,
                 lock: threading.Condition, end: Callable[[Request, End], None], *,
                 max_sequences: int, prefill_chunk: int,
                 clock: Callable[[], float] = time.monotonic):
        self._model, self._queue, self._watched = model, queue, watched
        self._meter, self._lock, self._end, self._clock = meter, lock, end, clock
        self._max_sequences, self._chunk = max_sequences, prefill_chunk
        self._conversation: List[Turn] = []
        self.running: List[Request] = []

    def turn(self) -> None:
        """Do the next piece of work."""
        for part in (self._admit, self._see):
            self._end_what_is_due()
            part()
        self._end_what_is_due()
        work = self._plan()
        if work:
            self._step(work)
        if not self._waiting():
            self._watch()

    def forget(self) -> None:
        """Forget the conversation, the cached prefixes and the rows of windows."""
        self._conversation = []  # what runs goes on with the old one, which nobody continues
        for request in self.running:
            request.keep_rows = False
        self._watched.clear()
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

    # -- the parts of a turn ------------------------------------------------------------------

    def _end_what_is_due(self) -> None:
        for request in self._queue.remove(lambda request: request.due() is not None):
            self._end(request, request.due())
        for request in list(self.running):
            end = request.due()
            if end is not None:
                self._end_running(request, end)
            elif request.done:  # abandoned
                self._leave(request, keep=False)

    def _admit(self) -> None:
        """Take up requests while there is room; decode the images of one of them at most."""
        worked = False
        while not worked:
            with self._lock:
                request = self._next()
                if request is None:
                    return
                self.running.append(request)
            request.seconds['queued'] = self._clock() - request.accepted
            try:
                worked = self._prepare(request)
            except Exception as error:
                self._fail(request, error)

    def _next(self) -> Optional[Request]:
        """Return the next request to be taken up.

        One place more is there for a query while live requests hold the others.
        """
        live = any(request.live for request in self.running)
        places = self._max_sequences - len(self.running)
        if places + live <= 0:
            return None
        chatting = any(request.query.keep_history for request in self.running)
        return self._queue.get(skip_history=chatting, queries_only=places <= 0)

    def _prepare(self, request: Request) -> bool:
        """Get a request ready to be opened; tell whether an image was worked on."""
        query, worked = request.query, False
        if query.generation:  # its newest frame may not be in the cache yet
            with self._meter.step(request.seconds, 'vision'):
                worked = self._watched.work(
                    self._model, self._chunk, (query.generation, query.frames))
        with self._meter.step(request.seconds, 'preprocess'):
            request.prepare(self._model, self._conversation)
            return self._model.preprocess(request.prompt, query.generation) or worked

    def _see(self) -> None:
        """Pass the next image that a prompt waits for through the vision tower.

        Not while prompts before it have rows for a whole chunk: it would only delay them.
        """
        room = self._chunk
        for request in self._next_to_fill():
            room -= request.unfilled
            if room <= 0:
                return
            if request.sequence is not None:  # it has the rows of its images already
                continue
            unseen = self._model.unseen(request.prompt, request.query.generation)
            if unseen:
                try:
                    with self._meter.step(request.seconds, 'vision'):
                        self._model.see(unseen[0])
                except Exception as error:
                    self._fail(request, error)
                return

    def _plan(self) -> List[Work]:
        """Choose what the next step runs: a token of each answer, and a chunk of prompts."""
        work: List[Work] = [(r, 0) for r in self.running if r.sequence is not None
                            and not r.unfilled]
        room = self._chunk
        for request in self._next_to_fill():
            if room <= 0 or (request.sequence is None and not self._open(request)):
                continue
            rows = min(request.unfilled, room)
            work.append((request, rows))
            room -= rows
        return work

    def _open(self, request: Request) -> bool:
        """Give a prompt its sequence, unless an image is missing or it waits for rows."""
        asked = request.prompt, request.query.generation
        if self._model.unseen(*asked) or self._must_wait(request):
            return False
        try:
            with self._meter.step(request.seconds, 'prefill'):
                request.sequence, request.cached_tokens = self._model.open(*asked)
        except Exception as error:
            self._fail(request, error)
            return False
        request.unfilled = request.prompt.n_tokens - request.cached_tokens
        return True

    def _step(self, work: Sequence[Work]) -> None:
        """Run the model once; what fails together is tried alone, so that the others go on."""
        fills = [(request, rows) for request, rows in work if rows]
        decodes = [request for request, rows in work if not rows]
        seconds: Dict[str, float] = {}
        failure: Optional[Exception] = None
        try:
            with self._meter.step(seconds, 'step'):
                logits = self._model.step(
                    [(request.sequence, rows) for request, rows in fills],
                    [(request.sequence, request.next_token) for request in decodes])
        except Exception as error:
            failure = error
        if failure is not None:
            self._failed_step(work, failure)
            return
        for request, rows in fills:
            request.unfilled -= rows
        with self._meter.step(seconds, 'step'):  # a GPU's step ends when its tokens are here
            tokens = self._sample([request for request, _ in fills] + decodes, logits)
        for request, _ in fills:
            request.spend('prefill', seconds['step'])
        for request in decodes:
            request.spend('decode', seconds['step'])
        if decodes and not fills:
            self._meter.decoded(len(decodes), seconds['step'])
        for request, token in tokens:
            self._take_token(request, token)

    def _sample(self, requests: Sequence[Request], logits) -> List[Tuple[Request, int]]:
        """Return tokens of those requests whose prompts are filled; a row of logits is each's."""
        model, masks = self._model, {}
        for row, request in enumerate(requests):
            try:
                if not request.unfilled:
                    masks[row] = request.allowed(model.stop_ids, model.vocab_size)
            except Exception as error:
                self._fail(request, error)
        if not masks:
            return []
        sampled = [requests[row] for row in masks]
        try:
            return list(zip(sampled, model.sample(
                logits if len(masks) == len(requests) else logits[list(masks)],
                [request.sampler for request in sampled], list(masks.values()))))
        except Exception as error:  # the rows are in the cache: there is no second try
            for request in sampled:
                self._fail(request, error)
            return []

    def _failed_step(self, work: Sequence[Work], error: Exception) -> None:
        if isinstance(error, NanoVlmError) and error.code == ErrorCode.OUT_OF_MEMORY:
            # Nothing has changed. Of all that hold rows, be it in this step or not, the last to
            # come gives way, a live one before a query.
            holders = [request for request in self.running if request.sequence is not None]
            self._fail(max(reversed(holders), key=lambda r: (r.live, r.accepted)), error)
        elif len(work) == 1:
            self._fail(work[0][0], error)
        else:
            LOG.warning('A step of %d requests failed; each is tried alone.', len(work),
                        exc_info=error)
            for one in work:
                if one[0].sequence is not None:  # it did not give way meanwhile
                    self._step([one])

    def _watch(self) -> None:
        """Work for a window: an image, a chunk of rows."""
        with self._meter.step({}, 'watch'):
            self._watched.work(self._model, self._chunk)

    # -- ends ---------------------------------------------------------------------------------

    def _waiting(self) -> List[Request]:
        """Requests whose prompts are not filled, first come, first served."""
        return [r for r in self.running if r.sequence is None or r.unfilled]

    def _next_to_fill(self) -> List[Request]:
        """Those that are worked on now: no live ones beside a query, which they would slow down.

        But a query that waits for rows of another prompt waits for a live one, perhaps: then
        all take their turns, or queries that came later would keep both waiting.
        """
        waiting = self._waiting()
        queries = [request for request in waiting if not request.live]
        if queries and not self._waits_for_rows(queries[0]):
            return queries
        return waiting

    def _waits_for_rows(self, request: Request) -> bool:
        asked = request.prompt, request.query.generation
        return (request.sequence is None and not self._model.unseen(*asked)
                and self._must_wait(request))

    def _must_wait(self, request: Request) -> bool:
        """Tell that a prompt will share rows that are not there yet, or that others have its rows.
        """
        holders = [other for other in self.running if other.sequence is not None]
        rows = sum(other.most_rows for other in (*holders, request))
        return bool(holders) and rows > self._model.cache_rows or not self._model.can_open(
            request.prompt, request.query.generation)

    def _take_token(self, request: Request, token: int) -> None:
        try:
            reason = request.take(token, self._model.stop_ids)
        except Exception as error:
            self._fail(request, error)
            return
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
