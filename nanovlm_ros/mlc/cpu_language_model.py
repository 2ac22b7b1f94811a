# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder on the CPU: TVM's memory, which torch sees without copies."""
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
import torch

from nanovlm_ros.mlc.huge_pages import huge_arrays
from nanovlm_ros.mlc.language_model import LanguageModel, rope_tables
from nanovlm_ros.mlc.packing import BLOCK
from nanovlm_ros.mlc.repack import parameters
from nanovlm_ros.mlc.shape import DecoderShape

POOL = 'pool'  # the K/V rows, beside the parameters


class CpuLanguageModel(LanguageModel):
    """Runs every batch, whatever it is made of, through one function of the library."""

    def __init__(self, shape: DecoderShape, library: Path, weights: Mapping[str, np.ndarray], *,
                 rope_theta: float, positions: int, slots: int):
        import tvm
        import tvm_ffi
        from tvm.runtime.vm import VirtualMachine

        super().__init__(torch.device('cpu'), shape.vocab, positions, slots)
        tensor = tvm.runtime.tensor
        self._adopt = tvm.runtime.from_dlpack
        machine = VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
        self._embed, self._run = machine['embed'], machine['run']
        layout = {**parameters(shape), POOL: (
            (shape.layers, 2, slots, shape.kv_heads, shape.head_dim), shape.cache_dtype)}
        memory = dict(zip(layout, huge_arrays(layout.values())))
        for name in shape.parameter_names():
            memory[name][...] = weights[name]
        memory[POOL][...] = 0  # resident from now on
        self._weights = tvm_ffi.convert(
            [self._adopt(torch.from_numpy(memory[name])) for name in shape.parameter_names()])
        self._rope = [tensor(table)
                      for table in rope_tables(shape.rotated, rope_theta, positions)]
        self._pool = self._adopt(torch.from_numpy(memory[POOL]))

    def _embed_tokens(self, ids: np.ndarray) -> torch.Tensor:
        return torch.from_dlpack(self._rows(ids))

    def _run_rows(self, batch, rows: torch.Tensor, slot, sequence, position) -> torch.Tensor:
        return self._forward(batch, self._adopt(rows), slot, sequence, position)

    def _decode_tokens(self, batch, ids: np.ndarray, slot, sequence, position) -> torch.Tensor:
        return self._forward(batch, self._rows(ids), slot, sequence, position)

    def _rows(self, ids: np.ndarray):
        return self._embed(self._tensor(ids), self._weights)

    def _forward(self, batch, rows, slot, sequence, position) -> torch.Tensor:
        block = cut_blocks([count for _, count in batch])
        table = self.cache.table([s for s, _ in batch])
        last = np.cumsum([count for _, count in batch], dtype=np.int32) - 1
        logits, _ = self._run(
            rows, *map(self._tensor, (slot, sequence, position, block, table, last)),
            *self._rope, self._pool, self._weights)
        return torch.from_dlpack(logits)

    def _tensor(self, array: np.ndarray):
        """Copy a small array for TVM, whose own way takes 15 us; torch aligns as it wants it."""
        return self._adopt(torch.from_numpy(array).clone())


def cut_blocks(counts: Sequence[int]) -> np.ndarray:
    """Return (first row, rows) of runs of at most BLOCK rows, (blocks, 2) int32.

    `counts` are the rows of the sequences of a batch, one sequence after the other.
    """
    ends = np.cumsum(counts)
    return np.array([(first, min(BLOCK, end - first)) for end, count in zip(ends, counts)
                     for first in range(end - count, end, BLOCK)], np.int32)
