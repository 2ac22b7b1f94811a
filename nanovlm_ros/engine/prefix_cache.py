# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Finished sequences kept for what the next prompts have in common with them.

One rule serves a system prompt, several questions about one frame and a chat
that goes on: a new prompt starts from the longest prefix that is in the cache.
"""
from collections import OrderedDict
from typing import Optional, Tuple

import numpy as np


class PrefixCache:
    """Keys of kept sequences (see `Prompt.keys`), least recently used first."""

    def __init__(self):
        self._keys: 'OrderedDict[int, np.ndarray]' = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def match(self, keys: np.ndarray) -> Tuple[Optional[int], int]:
        """Return (sequence, shared rows) of the longest common prefix, or (None, 0).

        The last row of `keys` is never shared: it must be run to get its logits.
        """
        best, shared = None, 0
        for sequence, known in self._keys.items():
            length = min(len(known), len(keys) - 1)
            differs = np.flatnonzero(known[:length] != keys[:length])
            common = int(differs[0]) if len(differs) else length
            if common > shared:
                best, shared = sequence, common
        if best is not None:
            self._keys.move_to_end(best)
        return best, shared

    def keep(self, sequence: int, keys: np.ndarray) -> Optional[int]:
        """Add a finished sequence; return one that it makes useless, to be freed."""
        covered, shared = self.match(np.append(keys, 0))
        self._keys[sequence] = keys
        if covered is not None and shared == len(self._keys[covered]):
            del self._keys[covered]
            return covered
        return None

    def evict(self) -> Optional[int]:
        """Forget the least recently used sequence and return it, to be freed."""
        return self._keys.popitem(last=False)[0] if self._keys else None
