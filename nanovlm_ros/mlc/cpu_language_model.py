# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder on the CPU: memory that TVM, torch and numpy see without copies."""
from pathlib import Path
from typing import Callable, Dict, Mapping, Sequence

import numpy as np
import torch

from nanovlm_ros.mlc.huge_pages import huge_arrays
from nanovlm_ros.mlc.kernels.cpu.layout import write
from nanovlm_ros.mlc.language_model import LanguageModel, rope_tables
from nanovlm_ros.mlc.packing import BLOCK
from nanovlm_ros.mlc.repack import library_parameters
from nanovlm_ros.mlc.shape import DecoderShape


class CpuLanguageModel(LanguageModel):
    """Runs every batch, whatever it is made of, through `run`, but for one row."""

    def __init__(self, shape: DecoderShape, library: Path, weights: Mapping[str, np.ndarray], *,
                 rope_theta: float, positions: int, slots: int):
        import tvm
        import tvm_ffi
        from tvm.runtime.vm import VirtualMachine

        super().__init__(torch.device('cpu'), shape.vocab, positions, slots)
        self._adopt = tvm.runtime.from_dlpack
        machine = VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
        self._embed, self._run, self._run_one = (
            machine[name] for name in ('embed', 'run', 'run_one'))
        layout = library_parameters(shape)
        cache = (shape.layers, 2, slots, shape.kv_heads, shape.head_dim), shape.cache_dtype
        *arrays, pool = huge_arrays([*layout.values(), cache])
        for name, array in zip(layout, arrays):
            write(name, array, weights)
        pool[...] = 0  # resident from now on
        self._weights = tvm_ffi.convert([self._adopt(torch.from_numpy(a)) for a in arrays])
        self._pool = self._adopt(torch.from_numpy(pool))
        self._rope = [tvm.runtime.tensor(table)
                      for table in rope_tables(shape.rotated, rope_theta, positions)]
        self._steps: Dict[int, DecodeStep] = {}  # by their rows

    def _embed_tokens(self, ids: np.ndarray) -> torch.Tensor:
        return torch.from_dlpack(self._embed(self._tensor(ids), self._weights))

    def _run_rows(self, batch, rows: torch.Tensor, slot, sequence, position) -> torch.Tensor:
        block = cut_blocks([count for _, count in batch])
        table = self.cache.table([s for s, _ in batch])
        last = np.cumsum([count for _, count in batch], dtype=np.int32) - 1
        return self._launch(self._run, self._adopt(rows), *map(
            self._tensor, (slot, sequence, position, block, table, last)))

    def _decode_tokens(self, batch, ids: np.ndarray, slot, sequence, position) -> torch.Tensor:
        step = self._steps.get(len(ids))
        if step is None:
            step = self._steps[len(ids)] = DecodeStep(len(ids), self.positions, self._adopt)
        step.write(ids, slot, position)
        self.cache.write_table([s for s, _ in batch], step.table)
        run = self._run_one if len(ids) == 1 else self._run
        return self._launch(run, self._embed(step.ids, self._weights), *step.arguments)

    def _launch(self, run: Callable, rows, *arguments) -> torch.Tensor:
        """`arguments`: slot, sequence, position, block, table and last."""
        return torch.from_dlpack(
            run(rows, *arguments, *self._rope, self._pool, self._weights)[0])

    def _tensor(self, array: np.ndarray):
        """Copy a small array for TVM, whose own way takes 15 us; torch aligns as it wants it."""
        return self._adopt(torch.from_numpy(array).clone())


class DecodeStep:
    """What a token of each of m sequences takes beside its row, in the same memory every time.

    What Python does between two tokens starts with cold caches: each array that is made costs
    several times of what it does alone.
    """

    def __init__(self, rows: int, positions: int, adopt: Callable):
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.int32)

        ids, slot, position, table = zeros(rows), zeros(rows), zeros(rows), zeros(rows, positions)
        sequence = torch.arange(rows, dtype=torch.int32)
        block = torch.stack([sequence, torch.ones_like(sequence)], 1)
        self._written = ids.numpy(), slot.numpy(), position.numpy()
        self.table, self.ids = table.numpy(), adopt(ids)
        self.arguments = tuple(map(adopt, (slot, sequence, position, block, table, sequence)))

    def write(self, ids: np.ndarray, slot: np.ndarray, position: np.ndarray) -> None:
        """Take the token, the slot and the position of each row."""
        for to, array in zip(self._written, (ids, slot, position)):
            to[:] = array


def cut_blocks(counts: Sequence[int]) -> np.ndarray:
    """Return (first row, rows) of runs of at most BLOCK rows, (blocks, 2) int32.

    `counts` are the rows of the sequences of a batch, one sequence after the other.
    """
    ends = np.cumsum(counts)
    return np.array([(first, min(BLOCK, end - first)) for end, count in zip(ends, counts)
                     for first in range(end - count, end, BLOCK)], np.int32)
