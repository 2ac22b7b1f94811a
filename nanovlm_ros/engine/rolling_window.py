# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The newest frames of a camera kept in the KV cache: a new one is appended, the oldest dropped.

The sequence is the beginning of a prompt about these frames, `[BOS, system, " USER: "][frame 1]
... [frame N]`. The rows of a frame stay as they were computed; they move up in the list when the
oldest frame goes, and K is rotated by its place in the list when it is read (`mlc.kv_cache`), so
positions are right after any number of drops. What stays of a dropped frame is its influence on
the rows of those that came after it (`engine.window` bounds that).
"""
from typing import List, Sequence

import numpy as np

from nanovlm_ros.mlc.kv_cache import KVCache
from nanovlm_ros.types import Frame


class RollingWindow:
    """The frames of one generation and their sequence; `head` rows come before the first frame.

    Every frame but the first has `gap` rows before its own `tokens`. `keys` are those of a
    prompt about the frames (see `Prompt.keys`), up to the end of the last one.
    """

    def __init__(self, cache: KVCache, head: int, gap: int, tokens: int):
        self._cache = cache
        self._head, self._gap, self._tokens = head, gap, tokens
        self.frames: List[Frame] = []
        self.keys = np.empty(0, np.int64)
        self.sequence = cache.add()

    def end(self, frames: int) -> int:
        """Rows up to the end of that many frames; 0 for none."""
        if not frames:
            return 0
        return self._head + frames * self._tokens + (frames - 1) * self._gap

    def roll_to(self, frames: Sequence[Frame]) -> bool:
        """Drop what lies before `frames`; False, and nothing is dropped, if they do not go on here.

        What stays is the beginning of `frames`; the others are to be appended.
        """
        held, wanted = _keys(self.frames), _keys(frames)
        for start in range(len(held)):
            if held[start:] == wanted[:len(held) - start]:
                # The gap before the frame that becomes the first goes, too.
                gone = slice(self._head, self._head + start * (self._tokens + self._gap))
                self._cache.drop(self.sequence, gone.start, gone.stop)
                self.keys = np.delete(self.keys, gone)
                del self.frames[:start]
                return True
        return not held

    def append(self, frame: Frame, keys: np.ndarray) -> None:
        """Take note that the rows of a frame were run; `keys` are those of the whole window."""
        self.frames.append(frame)
        self.keys = keys

    def shared(self, keys: np.ndarray, frames: int) -> int:
        """Return the rows that a prompt about the first `frames` frames can start from.

        0 where its `keys` differ from ours: other frames, another system prompt or a
        conversation before them. The rows of later frames alone know the ones before them.
        """
        rows = self.end(frames)
        fits = rows <= min(len(self.keys), len(keys) - 1)
        return rows if fits and np.array_equal(keys[:rows], self.keys[:rows]) else 0

    def remove(self) -> None:
        """Give the rows back."""
        self._cache.remove(self.sequence)


def _keys(frames: Sequence[Frame]) -> List[int]:
    return [frame.key for frame in frames]
