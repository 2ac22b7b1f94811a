# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The live loop of the node on the clock of the bag: what it would have asked, and missed.

As ros/live.py: at each tick of its period a question is asked about the newest image, all
questions and phrasings of a tick together. A tick that comes before all of the last one is
answered is missed; a tick without a new image asks nothing. An image is dropped if no tick
asked about it. The answers of a tick take what they take here, or a given cost.
"""
import heapq
from itertools import count, groupby
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from nanovlm_ros.bag.measured import Busy
from nanovlm_ros.bag.part import Part, make_part
from nanovlm_ros.bag.plan import Ask, BagPlan
from nanovlm_ros.bag.questions import WINDOW
from nanovlm_ros.bag.reader import SECOND
from nanovlm_ros.bag.results import ResultsFolder, belongs, make_row
from nanovlm_ros.bag.source import FrameSource, Shelf, decode
from nanovlm_ros.bag.throughput import answer_of, submit, without_broken

BUSY, STALE = 'busy', 'stale'
OTHER_CLOCK = 3600  # s between stamp and receipt from which on they are of different clocks


class Tick(NamedTuple):
    """A moment at which some questions are due; `entries` as in BagPlan.entries."""

    ns: int
    entries: Tuple[int, ...]


class Replay:
    """One bag, replayed. `cost_s` None: the answers of a tick take the time they take now.

    `max_age_s` 0: images of any age are asked about.
    """

    def __init__(self, plan: BagPlan, cost_s: Optional[float], max_age_s: float, config: str):
        self._plan, self._cost_s, self._max_age_s = plan, cost_s, max_age_s
        self._config = config
        self._free_ns = plan.index.start_ns  # when the last tick is answered
        self._source: Optional[FrameSource] = None
        self._shelf: Optional[Shelf] = None
        self._part: Optional[Part] = None
        self._drops: Dict[Tuple[int, int], dict] = {}  # by entry and newest image

    @property
    def drops(self) -> List[dict]:
        """What was not asked about so far: a question and an image each, in order of time."""
        return list(self._drops.values())

    def run(self, executor: Callable, folder: ResultsFolder, done: Iterator[dict], busy: Busy,
            on_row: Callable[[dict], None], on_old: Callable[[dict], None],
            on_time: Callable[[float], None]) -> None:
        """Replay from the beginning; questions that have a row in `done` are not asked again.

        `on_row` gets the new rows in order, `on_old` those of `done`: the time that they took
        passes again, so that the clock comes to where it was. `on_time` gets the seconds since
        the beginning. `executor()` returns the engine; it is called when there is a question.
        """
        try:
            for ns, asks in self.ticks():
                rows = []
                for ask in asks:
                    row = next(done, None)
                    if row is None:
                        break
                    if not belongs(row, self._plan, ask):
                        raise folder.changed(row)
                    rows.append(row)
                new = self._ask(executor, asks[len(rows):], busy)
                self._pass(ns, rows + new)
                for row in rows:
                    on_old(row)
                for row in new:
                    on_row(row)
                on_time((ns - self._plan.index.start_ns) / SECOND)
        finally:
            if self._source is not None:
                self._source.__exit__()

    def ticks(self) -> Iterator[Tuple[int, List[Ask]]]:
        """Yield (ns, what is asked) in order; `_pass` is due before the next is taken."""
        plan, shown = self._plan, {}
        for tick in self._ticks():
            newest = int(np.searchsorted(plan.index.log_ns, tick.ns, 'right')) - 1
            asks: List[Ask] = []
            for entry in tick.entries:
                frames = plan.views[entry].after(newest)
                if not frames or shown.get(entry) == frames:  # asked about already
                    continue
                limit_s = self._limit_s(entry)
                if tick.ns < self._free_ns:
                    self._drop(entry, frames, BUSY)
                elif limit_s and self._frames_age_s(frames, tick.ns) > limit_s:
                    self._drop(entry, frames, STALE)
                else:
                    shown[entry] = frames
                    self._drops.pop((entry, max(frames)), None)  # only late
                    number = plan.entries[entry][0]
                    asks += [Ask(newest, number, phrasing, frames)
                             for phrasing in range(len(plan.questions[number].phrasings))]
            if asks:
                yield tick.ns, asks

    def _ask(self, executor: Callable, asks: List[Ask], busy: Busy) -> List[dict]:
        """Ask together and return the rows."""
        if not asks:
            return []
        if self._source is None:
            self._part = self._rest(asks)
            self._source = FrameSource(self._part, decoded=False).__enter__()
            self._shelf = Shelf(self._source, self._part)
        part, ready = self._part, []
        for ask in asks:
            frames = self._shelf.take(ask.frames, ask.trigger)
            if part.questions[ask.question].source == WINDOW:
                decode(frames)  # the node prepares its windows as images arrive
            ready.append(without_broken(part, ask, frames))
        futures = submit(executor(), part, ready, busy, tick=True)
        return [make_row(part, ask, answer_of(future), self._config)
                for (ask, _), future in zip(ready, futures)]

    def _pass(self, ns: int, rows: List[dict]) -> None:
        """Let the time of a tick's answers pass."""
        for row in rows:
            measured = row['measured']
            cost = measured['total_s'] if self._cost_s is None else self._cost_s
            answered = ns + round(cost * SECOND)
            measured['answered_ns'] = answered
            measured['age_s'] = _age_s(row['stamp_ns'], row['log_ns'], answered)
            self._free_ns = max(self._free_ns, answered)

    def _ticks(self) -> Iterator[Tick]:
        merged = heapq.merge(*(self._times(entry) for entry in range(len(self._plan.entries))))
        for ns, group in groupby(merged, key=lambda each: each[0]):
            yield Tick(ns, tuple(entry for _, entry in group))

    def _times(self, entry: int) -> Iterator[Tuple[int, int]]:
        """Yield (ns, entry) of one question, in order."""
        plan = self._plan
        number, cameras = plan.entries[entry]
        question, index = plan.questions[number], plan.index
        last = int(index.log_ns[-1])
        if question.stamps:
            for stamp in question.stamps:
                yield plan.start_ns + round(stamp * SECOND), entry
        elif question.period_s:
            for tick in count():
                ns = index.start_ns + round(tick * question.period_s * SECOND)
                if ns > last:
                    return
                yield ns, entry
        else:
            numbers = index.numbers(cameras[0])
            for ns in index.log_ns[numbers[index.sampled[numbers]]].tolist():
                yield ns, entry

    def _rest(self, asks: List[Ask]) -> Part:
        """Return all that may still be shown from these questions on."""
        plan = self._plan
        shown = set(np.flatnonzero(plan.last_use >= asks[0].trigger).tolist())
        return make_part(plan, [], frozenset(shown.union(*(ask.frames for ask in asks))))

    def _drop(self, entry: int, frames: Tuple[int, ...], reason: str) -> None:
        plan, newest = self._plan, max(frames)
        number, _ = plan.entries[entry]
        self._drops.setdefault((entry, newest), {
            'bag': plan.name, 'camera': plan.index.topics[plan.index.topic[newest]],
            'stamp_ns': int(plan.index.stamp_ns[newest]),
            'log_ns': int(plan.index.log_ns[newest]),
            'question': plan.questions[number].id, 'reason': reason})

    def _limit_s(self, entry: int) -> float:
        question = self._plan.questions[self._plan.entries[entry][0]]
        # The newest frame of a window that runs may be as old as the next one is away.
        return self._max_age_s and self._max_age_s + question.window_period_s

    def _frames_age_s(self, frames: Tuple[int, ...], now_ns: int) -> float:
        index, newest = self._plan.index, max(frames)
        return _age_s(int(index.stamp_ns[newest]), int(index.log_ns[newest]), now_ns)


def _age_s(stamp_ns: int, log_ns: int, now_ns: int) -> float:
    """Return the age by the stamp; since receipt where that is of another clock."""
    other = abs(log_ns - stamp_ns) > OTHER_CLOCK * SECOND
    return (now_ns - (log_ns if other else stamp_ns)) / SECOND
