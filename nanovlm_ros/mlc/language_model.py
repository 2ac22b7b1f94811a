# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A compiled decoder at work: library, weights, K/V pool. Needs only TVM's runtime."""
from pathlib import Path
from typing import List, Mapping, Sequence, Tuple

import numpy as np

from nanovlm_ros.mlc.kv_cache import KVCache
from nanovlm_ros.mlc.packing import BLOCK
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError


class LanguageModel:
    """Embeds tokens and runs ragged batches of rows over the cached sequences.

    Not thread-safe: one thread creates, uses and drops it.
    """

    def __init__(self, shape: DecoderShape, library: Path, weights: Mapping[str, np.ndarray], *,
                 rope_theta: float, positions: int, slots: int):
        import tvm
        import tvm_ffi
        from tvm.runtime.vm import VirtualMachine

        self._tensor = tvm.runtime.tensor
        self._adopt = tvm.runtime.from_dlpack
        machine = VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
        self._embed, self._run = machine['embed'], machine['run']
        self._weights = tvm_ffi.convert(
            [self._tensor(weights[name]) for name in shape.parameter_names()])
        self._rope = [self._tensor(table)
                      for table in rope_tables(shape.rotated, rope_theta, positions)]
        self._pool = self._tensor(np.zeros(
            (shape.layers, 2, slots, shape.kv_heads, shape.head_dim), shape.cache_dtype))
        self.positions, self._vocab = positions, shape.vocab
        self.cache = KVCache(slots)

    def embed(self, ids: Sequence[int]) -> np.ndarray:
        """Return the embeddings (m, hidden) float32 of token ids. Raises MODEL_ERROR."""
        tokens = np.asarray(ids, np.int32)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self._vocab:
            raise NanoVlmError(  # the kernel reads unchecked
                ErrorCode.MODEL_ERROR,
                f'The tokenizer gave the id {tokens.max()}, and the language model knows '
                f'{self._vocab}: the two belong to different models.')
        return np.from_dlpack(self._embed(self._tensor(tokens), self._weights))

    def run(self, batch: Sequence[Tuple[int, int]], rows) -> np.ndarray:
        """Append rows to sequences; return the logits (len(batch), vocab) of each one's last.

        `batch` names the sequences and how many rows each gets; `rows` is the
        (sum of counts, hidden) float32 array of all of them (DLPack), which is
        overwritten. Raises OutOfSlots, and CONTEXT_OVERFLOW for rows past the last position;
        after any exception the sequences are as before.
        """
        before = {sequence: self.cache.length(sequence) for sequence, _ in batch}
        self._check_positions(batch, before)
        try:
            slot, sequence, position = self._place(batch)
            block = cut_blocks([count for _, count in batch])
            table = self.cache.table([s for s, _ in batch])
            last = np.cumsum([count for _, count in batch], dtype=np.int32) - 1
            logits, _ = self._run(
                self._adopt(rows), *map(
                    self._tensor, (slot, sequence, position, block, table, last)),
                *self._rope, self._pool, self._weights)
            return np.from_dlpack(logits)
        except BaseException:
            for sequence, length in before.items():
                self.cache.drop(sequence, length, self.cache.length(sequence))
            raise

    def _check_positions(self, batch, before) -> None:
        """The kernels read the rotary tables unchecked."""
        longest = max(before[sequence] + count for sequence, count in batch)
        if longest > self.positions:
            raise NanoVlmError(
                ErrorCode.CONTEXT_OVERFLOW,
                f'A sequence would have {longest} rows, but the context has {self.positions}; '
                'ask about less, or raise context_length.')

    def _place(self, batch) -> List[np.ndarray]:
        columns = []
        for index, (sequence, count) in enumerate(batch):
            start = self.cache.length(sequence)
            columns.append((self.cache.extend(sequence, count), np.full(count, index, np.int32),
                            np.arange(start, start + count, dtype=np.int32)))
        return [np.concatenate(column) for column in zip(*columns)]


def cut_blocks(counts: Sequence[int]) -> np.ndarray:
    """Return (first row, rows) of runs of at most BLOCK rows, (blocks, 2) int32.

    `counts` are the rows of the sequences of a batch, one sequence after the other.
    """
    ends = np.cumsum(counts)
    return np.array([(first, min(BLOCK, end - first)) for end, count in zip(ends, counts)
                     for first in range(end - count, end, BLOCK)], np.int32)


def rope_tables(rotated: int, theta: float, positions: int):
    """Return cos and sin, (positions, rotated / 2) float32. Su et al., arXiv:2104.09864."""
    inverse = theta ** (-np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    angle = np.arange(positions, dtype=np.float64)[:, None] * inverse
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
