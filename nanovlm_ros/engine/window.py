# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The frames that a camera's window holds: sampled by their stamps, the newest few.

Frames are held in generations. An exact window is one that slides for ever: every new frame
takes the place of the oldest. A rolling window keeps its frames in the KV cache (see
`engine.rolling_window`), where dropping the oldest frame leaves traces of it in the others; so
a generation ends after `max_rolls` drops, and a younger one takes over that began half its life
later and has seen nothing older. With `max_rolls` 0 nothing is ever dropped: the window grows
to `frames`, then goes on with its newer half.
"""
import math
from collections import deque
from itertools import count
from typing import Deque, List, Optional, Tuple

from nanovlm_ros.types import Frame

SECOND = 1_000_000_000  # ns
Generation = Tuple[int, Tuple[Frame, ...]]  # its number, unique in the process; oldest frame first

_numbers = count(1)


class FrameWindow:
    """At most `frames` frames, at least `period` seconds apart by their stamps.

    `max_rolls` None is an exact window. A stamp that lies before the newest one (a bag that
    begins again, a clock that was set back) empties the window: its frames belong to a time
    that did not happen. So does a frame of another size or frame_id: the camera has changed.
    Frames that could not be decoded are left out.
    """

    def __init__(self, frames: int, period: float, max_rolls: Optional[int] = None):
        if frames < 1 or not 0 <= period < math.inf:
            raise ValueError(f'A window of {frames} frames, {period:g} s apart, cannot be; it '
                             'needs 1 frame or more and a period of 0 s or more.')
        self.frames = frames
        self._period_ns = round(period * SECOND)
        self._life = math.inf if max_rolls is None else frames + max_rolls
        self._generations: List[_Growing] = []
        self._sampled_ns: Optional[int] = None  # stamp of the newest frame
        self._format: Optional[tuple] = None    # of every frame

    def due(self, stamp_ns: int) -> bool:
        """Tell whether a frame with this stamp is to be added now."""
        newest = self._sampled_ns
        return newest is None or stamp_ns < newest or stamp_ns - newest >= self._period_ns

    def add(self, frame: Frame, at_ns: Optional[int] = None) -> None:
        """Add the newest frame; the oldest gives way. `at_ns` stands for a stamp it has not."""
        at_ns = frame.stamp_ns if at_ns is None else at_ns
        if self._sampled_ns is not None and (
                at_ns < self._sampled_ns or frame.format != self._format):
            self.clear()
        self._format = frame.format
        generations = self._generations
        if generations and generations[0].taken >= self._life:
            del generations[0]
        if not generations or (len(generations) == 1
                               and 2 * generations[0].taken >= self._life):
            generations.append(_Growing(self.frames))
        for generation in generations:
            generation.add(frame)
        self._sampled_ns = at_ns

    def generations(self) -> List[Generation]:
        """Return what a rolling window holds: the frames of `last()`, then what will follow it."""
        return [(g.number, g.good()) for g in self._generations]

    def last(self, count: int = 0) -> Tuple[Frame, ...]:
        """Return the newest `count` frames, oldest first; 0: all there are."""
        frames = self._generations[0].good() if self._generations else ()
        return frames[-count:] if count else frames

    def clear(self) -> None:
        """Forget every frame."""
        self._generations.clear()
        self._sampled_ns = None


class _Growing:
    """A generation, and how many frames it has taken in its life."""

    def __init__(self, frames: int):
        self.number, self.taken = next(_numbers), 0
        self._frames: Deque[Frame] = deque(maxlen=frames)

    def add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self.taken += 1

    def good(self) -> Tuple[Frame, ...]:
        return tuple(frame for frame in self._frames if not frame.broken)
