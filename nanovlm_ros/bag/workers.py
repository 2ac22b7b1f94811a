# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shards of a run on several workers; what a dead one had is done again by another.

A pool has workers that each hold one engine: `LocalPool` processes of this machine,
`ray_pool.RayPool` actors of a Ray cluster. Rows come back shard by shard and are handed on in
the order of the plan.
"""
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from nanovlm_ros.bag.engine import EngineSpec
from nanovlm_ros.bag.measured import Busy, Work, peak_memory_mib
from nanovlm_ros.bag.part import Part, part_of
from nanovlm_ros.bag.plan import BagPlan
from nanovlm_ros.bag.throughput import run_part
from nanovlm_ros.engine.loader import THREADS
from nanovlm_ros.types import ErrorCode, NanoVlmError

LOG = logging.getLogger(__name__)
ATTEMPTS = 3              # workers that may die of one shard
SHARD_ROWS = (64, 256)    # least and most rows of a shard
LEAD = 4                  # shards a worker that may be done ahead of their turn


class Shard(NamedTuple):
    """Rows [begin, end) of a plan."""

    plan: BagPlan
    begin: int
    end: int

    def part(self) -> Part:
        """Return what a worker needs for them."""
        return part_of(self.plan, self.plan.asks[self.begin:self.end])


class Done(NamedTuple):
    """What a worker made of a shard: its rows, or those before an error."""

    rows: List[dict]
    error: Optional[Tuple[int, str]] = None   # code and sentence
    work: Work = Work()


def cut(plans: Sequence[BagPlan], done: int, workers: int) -> List[Shard]:
    """Return the shards of all rows after the first `done`, in order."""
    left = sum(len(plan.asks) for plan in plans) - done
    least, most = SHARD_ROWS
    size = max(least, min(most, left // (workers * 8)))
    shards = []
    for plan in plans:
        skipped = min(done, len(plan.asks))
        done -= skipped
        begin = skipped
        while begin < len(plan.asks):
            end = min(begin + size, len(plan.asks))
            # The questions about one image stay together: they share its prefill.
            while end < len(plan.asks) and plan.asks[end].trigger == plan.asks[end - 1].trigger:
                end += 1
            shards.append(Shard(plan, begin, end))
            begin = end
    return shards


def coordinate(shards: Sequence[Shard], pool, on_done: Callable[[Done], None]) -> None:
    """Have every shard done; `on_done` gets them in order. Raises what a shard raised."""
    waiting: Deque[int] = deque(range(len(shards)))
    finished: Dict[int, Done] = {}
    attempts: Dict[int, int] = {}
    turn = 0
    while turn < len(shards):
        while waiting and pool.free() and waiting[0] < turn + LEAD * pool.size:
            pool.give(waiting[0], shards[waiting.popleft()].part())
        for number, done in pool.wait():
            if done is not None:
                finished[number] = done
                continue
            attempts[number] = attempts.get(number, 0) + 1
            if attempts[number] >= ATTEMPTS:
                raise NanoVlmError(
                    ErrorCode.MODEL_ERROR,
                    f'{ATTEMPTS} workers died of the same questions (bag '
                    f'{shards[number].plan.name!r}, rows {shards[number].begin} to '
                    f'{shards[number].end}). Is there enough memory for so many workers? What was '
                    'answered before is kept; the same command goes on from there.')
            waiting.appendleft(number)
        while turn in finished:
            done = finished.pop(turn)
            on_done(done)
            if done.error is not None:
                raise NanoVlmError(ErrorCode(done.error[0]), done.error[1])
            turn += 1


class Desk:
    """What a worker does, wherever it is: one engine, one shard after another."""

    def __init__(self, spec: EngineSpec, config: str):
        self._spec, self._config = spec, config
        self._executor = None

    def do(self, part: Part) -> Done:
        """Answer a part; an error comes with the rows before it."""
        rows: List[dict] = []
        busy, error, loading_s = Busy(), None, 0.0
        try:
            if self._executor is None:
                began = time.monotonic()
                self._executor = self._spec.start()
                loading_s = time.monotonic() - began
            run_part(self._executor, part, self._spec.in_flight, busy, self._config, rows.append)
        except NanoVlmError as caught:
            error = int(caught.code), caught.message
        return Done(rows, error, Work(busy.seconds, loading_s, peak_memory_mib()))


class LocalPool:
    """Processes of this machine; used inside `with`."""

    def __init__(self, spec: EngineSpec, config: str, size: int):
        self._spec, self._config, self.size = spec, config, size
        self._context = multiprocessing.get_context('spawn')  # a fork would share the threads
        self._workers: list = []   # (process, connection, number of its shard or None)

    def __enter__(self) -> 'LocalPool':
        with threads_for(self.size):
            for _ in range(self.size):
                self._workers.append(self._start())
        return self

    def __exit__(self, *_) -> None:
        for process, connection, _ in self._workers:
            connection.close()
            process.terminate()
        for process, _, _ in self._workers:
            process.join()

    @property
    def pids(self) -> List[int]:
        """The processes of the workers."""
        return [process.pid for process, _, _ in self._workers]

    def free(self) -> bool:
        """Tell whether a worker waits for work."""
        return any(number is None for _, _, number in self._workers)

    def give(self, number: int, part: Part) -> None:
        """Give a part to a worker that waits."""
        place = next(i for i, worker in enumerate(self._workers) if worker[2] is None)
        process, connection, _ = self._workers[place]
        self._workers[place] = process, connection, number
        try:
            connection.send(part)
        except OSError:
            pass  # it died while it waited; wait() finds that

    def wait(self) -> List[Tuple[int, Optional[Done]]]:
        """Wait for news: (number, what was done), None where the worker died."""
        busy = {connection: place for place, (_, connection, number) in enumerate(self._workers)
                if number is not None}
        news = []
        for connection in wait(list(busy)):
            place = busy[connection]
            process, _, number = self._workers[place]
            try:
                done = connection.recv()
                self._workers[place] = process, connection, None
            except (EOFError, OSError):
                done = None
                process.join()
                LOG.warning('A worker died with exit code %s.', process.exitcode)
                with threads_for(self.size):
                    self._workers[place] = self._start()
            news.append((number, done))
        return news

    def _start(self):
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._spec, self._config), daemon=True)
        process.start()
        theirs.close()
        return process, ours, None


def _serve(connection, spec: EngineSpec, config: str) -> None:
    """Be a worker: until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that coordinates
    desk = Desk(spec, config)
    while True:
        try:
            connection.send(desk.do(connection.recv()))
        except (EOFError, OSError):  # nobody is there any more
            return


def thread_settings(cores: int) -> Dict[str, str]:
    """Return the environment of a worker that has some cores; what the user set stays."""
    return {name: os.environ.get(name, str(cores)) for name in THREADS}


@contextmanager
def threads_for(workers: int) -> Iterator[None]:
    """Processes that are started inside take their share of the cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(thread_settings(max(1, (os.cpu_count() or 1) // workers)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
