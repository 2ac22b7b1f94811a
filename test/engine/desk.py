# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks a scheduler on a virtual clock, turn by turn on one thread, and checks what it promises."""
import threading
from itertools import count, pairwise
from typing import Dict, List, Optional, Sequence

from fakes import describe
from virtual import PASS, READ, ROW, SEE, VirtualClock, VirtualModel

from nanovlm_ros.engine.ends import REPLACED
from nanovlm_ros.engine.request import Request, Ticket
from nanovlm_ros.engine.request_queue import RequestQueue
from nanovlm_ros.engine.scheduler import Scheduler
from nanovlm_ros.engine.stats import Meter
from nanovlm_ros.engine.watched import Watched
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import Answer, GenerationConfig, Query, TextChunk

CHUNK = 64                        # rows
STEP = CHUNK * ROW + PASS       # s: the longest step
TURN = READ + SEE + STEP          # s: the longest turn in which no window is worked on
LONG = 'words' * 160              # rows of 12 chunks and a half
FOUR = ('one', 'two', 'three', 'four')
MANY = 100_000                    # turns; only a scheduler that gets nowhere takes so many


def longest_pause(times: Sequence[float]) -> float:
    """Return the longest time between two of them; rounding is no pause."""
    return max(after - before for before, after in pairwise(times)) - 1e-9


def tell(turns) -> str:
    """Describe, and then go on for as long as one listens; the first token is text already."""
    return describe(turns)[1:] + '~' * 1000


class Desk:
    """What the executor does for a scheduler, without its thread."""

    def __init__(self, *, max_sequences=4, queue_size=1000, prefill_chunk=CHUNK, **options):
        options.setdefault('reply', tell)
        self.clock = VirtualClock()
        self.model = VirtualModel(self.clock, **options)
        self.queue, self.watched = RequestQueue(queue_size), Watched()
        self.meter, self._ids = Meter(self.clock), count()
        self.max_sequences = max_sequences
        self.scheduler = Scheduler(
            self.model, self.queue, self.watched, self.meter, threading.Condition(), self._end,
            max_sequences=max_sequences, prefill_chunk=prefill_chunk, clock=self.clock)
        self.requests: Dict[str, Request] = {}
        self.chunks: Dict[str, List[TextChunk]] = {}
        self.answers: Dict[str, List[Answer]] = {}
        self.times: Dict[str, List[float]] = {}  # of chunks
        self.order: List[str] = []               # questions, as they ended

    # -- asking -------------------------------------------------------------------------------

    def ask(self, prompt='hello', **fields) -> Ticket:
        """Submit a query; `tokens` is the length of its answer."""
        request = self._request(prompt, live=False, **fields)
        self.queue.put(request)
        return self._accepted(request)

    def tick(self, *prompts, **fields) -> List[Ticket]:
        """Submit a live tick."""
        requests = [self._request(prompt, live=True, **fields) for prompt in prompts]
        for request in self.queue.put_tick(requests):
            self._end(request, REPLACED)
        return [self._accepted(request) for request in requests]

    def later(self, seconds: float, what, *arguments, **fields) -> List[Ticket]:
        """Ask at a time from now, in the middle of a step if need be; return where it will be."""
        tickets: List[Ticket] = []
        self.clock.at(self.clock() + seconds,
                      lambda: tickets.append(what(*arguments, **fields)))
        return tickets

    # -- going on -----------------------------------------------------------------------------

    def turn(self) -> None:
        """Let the scheduler do one turn, and check what holds after each."""
        self.scheduler.turn()
        running = self.scheduler.running
        assert len(running) <= self.max_sequences + any(r.live for r in running)
        assert sum(r.query.keep_history for r in running) <= 1
        assert not self.model.corrupt

    def run(self, until=lambda: False) -> None:
        """Take turns until something holds, or all there is and will be is done."""
        for _ in range(MANY):
            if until():
                return
            if self.scheduler.running or len(self.queue) or len(self.watched):
                self.turn()
            elif not self.clock.skip():
                return
        raise AssertionError('the scheduler gets nowhere')

    def finish(self) -> None:
        """Do all there is to do; each request must end once, and all rows must be free."""
        self.run()
        for name in self.requests:
            self._check(name)
        assert not self.model.sequences and self.model.held == 0

    # -- what came of it ----------------------------------------------------------------------

    def answer(self, ticket: Ticket) -> Answer:
        """Go on until a request ends; return its answer."""
        self.run(until=lambda: ticket.done)
        return self._check(ticket.request_id)

    def first(self, ticket: Ticket) -> float:
        """Go on until the first text of a request; return when it came, since it was asked."""
        self.run(until=lambda: self.times[ticket.request_id])
        return self.times[ticket.request_id][0] - self.requests[ticket.request_id].accepted

    def request(self, ticket: Ticket) -> Request:
        """Return what the scheduler has of a request."""
        return self.requests[ticket.request_id]

    def expected(self, ticket: Ticket) -> str:
        """Return the text that a request must get, whoever runs beside it."""
        query = self.request(ticket).query
        text = self.model.reply([Turn(query.prompt, query.frames)])
        return text[:query.config.max_new_tokens]

    def right(self, *tickets: Ticket) -> bool:
        """Tell whether requests end well and have the texts that they must get."""
        return all((self.answer(t).text, self.answer(t).error_code) == (self.expected(t), 0)
                   for t in tickets)

    # -- inside -------------------------------------------------------------------------------

    def _request(self, prompt, *, live, tokens=10, config: Optional[dict] = None, **fields):
        name = f'{next(self._ids)}'
        self.chunks[name], self.answers[name], self.times[name] = [], [], []

        def on_chunk(chunk):
            self.chunks[name].append(chunk)
            self.times[name].append(self.clock())

        query = Query(name, prompt, config=GenerationConfig(tokens, **config or {}), **fields)
        return Request(query, None, on_chunk, self.answers[name].append, live, 'fake',
                       lambda: None, self.clock)

    def _accepted(self, request) -> Ticket:
        self.requests[request.query.request_id] = request
        return Ticket(request)

    def _end(self, request, how) -> None:
        answer = request.finish(*how)
        if answer is not None:
            self.meter.ended(answer.error_code)
            self.order.append(request.query.prompt)

    def _check(self, name) -> Answer:
        answer, = self.answers[name]
        chunks = self.chunks[name]
        assert [c.sequence for c in chunks] == list(range(len(chunks)))
        assert [c.done for c in chunks] == [False] * (len(chunks) - 1) + [True]
        assert ''.join(c.delta for c in chunks) == chunks[-1].text == answer.text
        timings = answer.timings
        parts = (timings.queued, timings.preprocess, timings.vision, timings.prefill,
                 timings.decode)
        assert min(parts) >= 0 and sum(parts) <= timings.total + 1e-9
        return answer
