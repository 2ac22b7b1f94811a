# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the next prompts may have in common with sequences that run or have finished.

One rule serves a system prompt, several questions about one frame and a chat
that goes on: a new prompt starts from the longest prefix that is in the cache.
"""
from collections import OrderedDict
from typing import Callable, Dict, Optional, Tuple

import numpy as np


class PrefixCache:
    """Keys of sequences (see `Prompt.keys`): running ones, and kept ones by last use.

    `filled(sequence)` tells how many rows of a running one are computed.
    """

    def __init__(self, filled: Callable[[int], int] = lambda sequence: 1 << 62):
        self._filled = filled
        self._kept: 'OrderedDict[int, np.ndarray]' = OrderedDict()
        self._running: Dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def match(self, keys: np.ndarray) -> Tuple[Optional[int], int]:
        """Return (sequence, shared rows) of the longest common prefix, or (None, 0).

        The last row of `keys` is never shared: it must be run to get its logits.
        """
        best, shared = None, 0
        for sequence, known in [*self._kept.items(), *self._running.items()]:
            common = _common(known, keys)
            if sequence in self._running:
                common = min(common, self._filled(sequence))
            if common > shared:
                best, shared = sequence, common
        if best in self._kept:
            self._kept.move_to_end(best)
        return best, shared

    def promised(self, keys: np.ndarray) -> int:
        """Return the most rows that a running sequence will share, and cannot share yet."""
        common = {sequence: _common(known, keys) for sequence, known in self._running.items()}
        return max((rows for sequence, rows in common.items() if rows > self._filled(sequence)),
                   default=0)

    def run(self, sequence: int, keys: np.ndarray) -> None:
        """Add a running sequence that begins with these keys."""
        self._running[sequence] = keys

    def end(self, sequence: int) -> None:
        """Forget a running sequence."""
        self._running.pop(sequence, None)

    def keep(self, sequence: int, keys: np.ndarray) -> Optional[int]:
        """Add a finished sequence; return one that it makes useless, to be freed."""
        useless = next((other for other, known in self._kept.items()
                        if _common(known, np.append(keys, 0)) == len(known)), None)
        if useless is not None:
            del self._kept[useless]
        self._kept[sequence] = keys
        return useless

    def evict(self) -> Optional[int]:
        """Forget the least recently used finished sequence and return it, to be freed."""
        return self._kept.popitem(last=False)[0] if self._kept else None


def _common(known: np.ndarray, keys: np.ndarray) -> int:
    """Length of the common prefix, short of the last row of `keys`."""
    length = min(len(known), len(keys) - 1)
    differs = np.flatnonzero(known[:length] != keys[:length])
    return int(differs[0]) if len(differs) else length
