# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run measures of itself: measured.json, kept up while it asks, summed over its stops.

A run plans (reads stamps, checks questions), asks, and writes its outputs. Only asking counts
as wall time, less the time in which the engines were loaded; what of it no engine had a
question to work on is idle.
"""
import json
import resource
import threading
import time
from pathlib import Path
from typing import NamedTuple

from nanovlm_ros.bag.results import write_json

MEASURED = 'measured.json'
EVERY_S = 5.0  # so much may be lost when a run is killed
_NOTHING = {'rows': 0, 'wall_s': 0.0, 'engine_idle_s': 0.0, 'planning_s': 0.0, 'loading_s': 0.0,
            'outputs_s': 0.0, 'peak_memory_mib': 0.0}


class Busy:
    """How long an engine has had questions; any thread may tell."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seconds, self._questions, self._since = 0.0, 0, 0.0

    def began(self, questions: int = 1) -> None:
        """Count questions that the engine has."""
        with self._lock:
            if not self._questions:
                self._since = time.monotonic()
            self._questions += questions

    def ended(self, questions: int = 1) -> None:
        """Count those that it has answered, or refused."""
        with self._lock:
            self._questions -= questions
            if not self._questions:
                self._seconds += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """As of now."""
        with self._lock:
            return self._seconds + (time.monotonic() - self._since if self._questions else 0.0)


class Work(NamedTuple):
    """What a worker did for a shard."""

    busy_s: float = 0.0
    loading_s: float = 0.0          # of its engine, before its first shard
    peak_memory_mib: float = 0.0    # so far


class Measured:
    """The file of one run that began at `started` (time.monotonic()) and has `workers`.

    `wall_s` and `engine_idle_s` are of one worker: the mean of all.
    """

    def __init__(self, folder: Path, started: float, workers: int):
        self._path, self._started, self._workers = folder / MEASURED, started, workers
        self._before = {**_NOTHING, **(
            json.loads(self._path.read_text(encoding='utf-8')) if self._path.exists() else {})}
        self.busy = Busy()  # of the engine of this process, if it has one
        self._busy_s, self._loading_s, self._peak_memory_mib = Work()  # of all workers
        self._rows, self._outputs_s = 0, 0.0
        self.begin()

    def begin(self) -> None:
        """Asking begins now; what was before is planning."""
        self._began = self._until = time.monotonic()

    def add(self, work: Work) -> None:
        """Add what a worker did."""
        self._busy_s += work.busy_s
        self._loading_s += work.loading_s
        self._peak_memory_mib = max(self._peak_memory_mib, work.peak_memory_mib)

    def row(self) -> None:
        """Count a row that was made; now and then the file is written."""
        self._rows += 1
        if time.monotonic() - self._until >= EVERY_S:
            self.end()

    def end(self) -> None:
        """Asking ends now, or lasted until now."""
        self._until = time.monotonic()
        self.add(Work(peak_memory_mib=peak_memory_mib()))
        self._write()

    def outputs(self, seconds: float) -> None:
        """The outputs took so long."""
        self._outputs_s = seconds
        self._write()

    def _write(self) -> None:
        """Write the file; a run that made no row leaves it as it is."""
        if not self._rows:
            return
        loading = self._loading_s / self._workers
        wall = self._until - self._began - loading
        new = {'rows': self._rows, 'wall_s': wall,
               'engine_idle_s': wall - (self._busy_s + self.busy.seconds) / self._workers,
               'planning_s': self._began - self._started, 'loading_s': loading,
               'outputs_s': self._outputs_s}
        write_json(self._path, {
            **{name: round(self._before[name] + value, 3) for name, value in new.items()},
            'peak_memory_mib': round(
                max(self._before['peak_memory_mib'], self._peak_memory_mib), 1),
            'workers': self._workers})


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
