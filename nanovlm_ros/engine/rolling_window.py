# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The newest frames of a camera kept in the KV cache: a new one is appended, the oldest dropped.

The sequence is the beginning of a prompt about these frames, `[BOS, system, " USER: "][frame 1]
... [frame N]`. The rows of a frame stay as they were computed; they move up in the list when the
oldest frame goes, and K is rotated by its place in the list when it is read (`mlc.kv_cache`), so
positions are right after any number of drops. What stays of a dropped frame is its influence on
the rows of those that came after it (`engine.window` bounds that).
"""
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from nanovlm_ros.mlc.kv_cache import KVCache
from nanovlm_ros.types import Frame


class Layout(NamedTuple):
    """Rows of a prompt about several frames: before the first, between two, and of one."""

    head: int
    gap: int
    tokens: int

    def end(self, frames: int) -> int:
        """Rows up to the end of that many frames; 0 for none."""
        if not frames:
            return 0
        return self.head + frames * self.tokens + (frames - 1) * self.gap


class RollingWindow:
    """The frames of one generation and their sequence.

    `keys` are those of a prompt about the frames (see `Prompt.keys`) with this system prompt, up
    to the end of the last frame. Of a frame that is being appended, the cache holds the first
    rows.
    """

    def __init__(self, cache: KVCache, layout: Layout, system_prompt: str):
        self._cache, self._layout = cache, layout
        self.system_prompt = system_prompt
        self.frames: List[Frame] = []
        self.keys = np.empty(0, np.int64)
        self.sequence = cache.add()
        self.dropped = False  # its rows know frames that are gone
        self._next: Optional[Frame] = None

    def roll_to(self, frames: Sequence[Frame]) -> bool:
        """Drop what lies before `frames`; False, and nothing is dropped, if they do not go on here.

        What stays is the beginning of `frames`; the others are to be appended.
        """
        held, wanted = _keys(self.frames), _keys(frames)
        for start in range(len(held)):
            if held[start:] == wanted[:len(held) - start]:
                # The gap before the frame that becomes the first goes, too.
                head, tokens = self._layout.head, self._layout.tokens
                gone = slice(head, head + start * (tokens + self._layout.gap))
                self._cache.drop(self.sequence, gone.start, gone.stop)
                self.keys = np.delete(self.keys, gone)
                del self.frames[:start]
                self.dropped |= start > 0
                return True
        return not held

    def missing(self, frame: Frame) -> slice:
        """Return the rows, in a prompt about the frames and this one, that are still to be run."""
        known = len(self.frames)
        if self._next is not frame:  # another one was begun, perhaps
            self._cache.drop(self.sequence, self._layout.end(known),
                             self._cache.length(self.sequence))
            self._next = frame
        return slice(self._cache.length(self.sequence), self._layout.end(known + 1))

    def appended(self, frame: Frame, keys: np.ndarray) -> None:
        """Take note that rows of a frame were run; `keys` are those of a prompt that ends so."""
        end = self._layout.end(len(self.frames) + 1)
        if self._cache.length(self.sequence) == end:
            self.frames.append(frame)
            self.keys, self._next = keys[:end], None

    def shared(self, keys: np.ndarray, frames: int) -> int:
        """Return the rows that a prompt about `frames` frames can start from: of whole frames.

        0 where its `keys` differ from ours: other frames, another system prompt or a
        conversation before them. The rows of later frames alone know the ones before them.
        """
        rows = self._layout.end(min(frames, len(self.frames)))
        fits = rows < len(keys) and np.array_equal(keys[:rows], self.keys[:rows])
        return rows if fits else 0

    def remove(self) -> None:
        """Give the rows back."""
        self._cache.remove(self.sequence)


def _keys(frames: Sequence[Frame]) -> List[int]:
    return [frame.key for frame in frames]
