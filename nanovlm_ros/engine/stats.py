# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the executor counts, and the heartbeat that a watchdog reads."""
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, Optional

from nanovlm_ros.types import ErrorCode


@dataclass(frozen=True)
class ExecutorStats:
    """A reading of the executor."""

    queued: int
    running: int
    completed: int            # requests that ended without an error
    failed: int               # with one; the canceled ones are in neither
    live_missed: int          # live ticks replaced by newer ones
    tokens_per_second: float  # of decode steps, moving average
    stuck_for: float          # s since the current step began; 0 when idle


class Meter:
    """Counts ends and speed; written by the executor's thread, read by any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._completed = self._failed = 0
        self._rate = 0.0
        self._step_began: Optional[float] = None

    @contextmanager
    def step(self, seconds: Dict[str, float], name: str) -> Iterator[None]:
        """Add the time of a piece of work to `seconds[name]`; until its end it may be stuck."""
        began = self._step_began = self._clock()
        try:
            yield
        finally:
            self._step_began = None
            seconds[name] = seconds.get(name, 0.0) + self._clock() - began

    def decoded(self, tokens: int, seconds: float) -> None:
        """Count one decode step."""
        rate = tokens / max(seconds, 1e-9)
        self._rate = 0.9 * self._rate + 0.1 * rate if self._rate else rate

    def ended(self, code: ErrorCode) -> None:
        """Count one end."""
        with self._lock:
            self._completed += code == ErrorCode.NONE
            self._failed += code not in (ErrorCode.NONE, ErrorCode.CANCELED)

    def read(self, queued: int, running: int, live_missed: int) -> ExecutorStats:
        """Return a reading as of now."""
        began = self._step_began
        return ExecutorStats(
            queued, running, self._completed, self._failed, live_missed, self._rate,
            stuck_for=self._clock() - began if began is not None else 0.0)
