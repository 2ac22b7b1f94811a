# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How often something is measured, and what is kept of it."""
import time
from statistics import median
from typing import Any, Callable, Dict, List, Mapping

import torch

LEAST = 3        # runs of a measurement
SLOW = 2.0       # s
PATIENCE = 10.0  # s that the runs of one may take before there are as many as asked for

Run = Callable[[], float]  # does something once and returns the seconds of it


class Clock:
    """Times work on a device: from when all before it is done until it is done."""

    def __init__(self, device: torch.device):
        self._wait = torch.cuda.synchronize if device.type == 'cuda' else lambda: None

    def __call__(self, work: Callable[[], Any]) -> float:
        """Return the seconds that `work` takes."""
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began


def take_turns(runs: Mapping[str, Run], repeat: int) -> Dict[str, List[float]]:
    """Return the seconds of `repeat` runs of each, one of each after the other.

    What disturbs the machine for a while then disturbs all. The first turn is not counted, but
    where runs are SLOW, to which first calls add little. Slow runs are fewer, but LEAST.
    """
    end = time.monotonic() + PATIENCE * len(runs)
    seconds = {name: [run()] for name, run in runs.items()}
    if min(first for first, in seconds.values()) < SLOW:
        seconds = {name: [] for name in runs}
    while len(next(iter(seconds.values()))) < repeat:
        if len(next(iter(seconds.values()))) >= LEAST and time.monotonic() > end:
            break
        for name, run in runs.items():
            seconds[name].append(run())
    return seconds


def in_ms(seconds: List[float]) -> Dict[str, Any]:
    """Return the median of some runs, and between what they lay [ms]."""
    return {'unit': 'ms', 'median': _ms(median(seconds)), 'min': _ms(min(seconds)),
            'max': _ms(max(seconds)), 'runs': len(seconds)}


def _ms(seconds: float) -> float:
    return float(f'{seconds * 1000:.4g}')
