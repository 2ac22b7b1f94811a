# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which rows of the K/V pool belong to which sequence: the host side of the cache.

The page is one row (see `kernels.cpu.attention`): a sequence is a list of slots, a
slot is shared by counting its owners. Rows are written once and never change,
so forks share every row of their parent without copies. numpy only.
"""
from typing import Dict, Sequence

import numpy as np


class OutOfSlots(MemoryError):
    """The pool has too few free rows; nothing was changed."""


class KVCache:
    """Sequences over a pool of `slots` rows; ids are small integers."""

    def __init__(self, slots: int):
        self.slots = slots
        self._owners = np.zeros(slots, np.int32)
        self._free = np.arange(slots - 1, -1, -1, dtype=np.int32)  # a stack
        self._free_count = slots
        self._sequences: Dict[int, np.ndarray] = {}
        self._next_id = 0

    @property
    def free(self) -> int:
        """Rows that belong to no sequence."""
        return self._free_count

    def __len__(self) -> int:
        return len(self._sequences)

    def length(self, sequence: int) -> int:
        """Rows of a sequence."""
        return len(self._sequences[sequence])

    def add(self) -> int:
        """Return a new, empty sequence."""
        return self._insert(np.empty(0, np.int32))

    def fork(self, sequence: int, length: int) -> int:
        """Return a new sequence that shares the first `length` rows of another."""
        rows = self._sequences[sequence][:length].copy()
        self._owners[rows] += 1
        return self._insert(rows)

    def extend(self, sequence: int, count: int) -> np.ndarray:
        """Append `count` fresh rows; return their slots (count,) int32. Raises OutOfSlots."""
        if count > self._free_count:
            raise OutOfSlots(
                f'The KV cache has {self._free_count} of {self.slots} rows free and '
                f'{count} are needed.')
        fresh = self._free[self._free_count - count:self._free_count][::-1].copy()
        self._free_count -= count
        self._owners[fresh] = 1
        self._sequences[sequence] = np.concatenate([self._sequences[sequence], fresh])
        return fresh

    def drop(self, sequence: int, start: int, stop: int) -> None:
        """Take rows [start, stop) out of a sequence; what follows moves up."""
        rows = self._sequences[sequence]
        self._sequences[sequence] = np.concatenate([rows[:start], rows[stop:]])
        self._disown(rows[start:stop])

    def remove(self, sequence: int) -> None:
        """Forget a sequence; rows that no other one shares become free."""
        self._disown(self._sequences.pop(sequence))

    def table(self, sequences: Sequence[int]) -> np.ndarray:
        """Return the slots of several sequences, (sequences, longest) int32, padded with 0."""
        table = np.zeros((len(sequences), max(map(self.length, sequences))), np.int32)
        self.write_table(sequences, table)
        return table

    def write_table(self, sequences: Sequence[int], table: np.ndarray) -> None:
        """Write the slots of each sequence to the beginning of its line of `table`."""
        for line, sequence in zip(table, sequences):
            rows = self._sequences[sequence]
            line[:len(rows)] = rows

    def _insert(self, rows: np.ndarray) -> int:
        self._next_id += 1
        self._sequences[self._next_id] = rows
        return self._next_id

    def _disown(self, rows: np.ndarray) -> None:
        self._owners[rows] -= 1
        freed = rows[self._owners[rows] == 0]
        self._free[self._free_count:self._free_count + len(freed)] = freed
        self._free_count += len(freed)
