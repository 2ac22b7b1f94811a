# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decode step as one launch: its kernels, recorded in a CUDA graph."""
from typing import Callable

import numpy as np
import torch

from nanovlm_ros.mlc.kernels.cuda.layout import KEYS
from nanovlm_ros.mlc.shape import DecoderShape

REHEARSALS = 2  # kernels are loaded, and memory is taken, before anything is recorded


class DecodeGraph:
    """The step for a number of sequences and a length of their tables.

    What changes from step to step lies in one array in the host's memory, which the graph
    itself copies: ids, slots and positions (rows,) each, and the table (rows, length).
    """

    def __init__(self, shape: DecoderShape, step: Callable[..., torch.Tensor], rows: int,
                 length: int, spare_slot: int):
        """`step` takes ids, slot, position, table, part and counter, and returns the logits."""
        import tvm_ffi

        self._rows = rows
        start = -(-rows // 16) * 16  # TVM wants arrays at 64 bytes
        self._host = torch.zeros(3 * start + rows * length, dtype=torch.int32).pin_memory()
        device = torch.zeros_like(self._host, device='cuda')
        self._ids, self._slot, self._position, self._table = self._views(
            self._host.numpy(), start, length)
        self._slot[:] = spare_slot
        splits = -(-length // KEYS)
        scratch = (
            torch.empty(rows * shape.q_heads * splits * (shape.head_dim + 2), device='cuda'),
            torch.zeros(rows * shape.kv_heads, dtype=torch.int32, device='cuda'))
        inputs = (*self._views(device, start, length), *scratch)

        def whole() -> torch.Tensor:
            device.copy_(self._host, non_blocking=True)
            return step(*inputs)

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with tvm_ffi.use_torch_stream(torch.cuda.stream(side)):
            for _ in range(REHEARSALS):
                whole()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with tvm_ffi.use_torch_stream(torch.cuda.graph(self._graph)):
            self._logits = whole()
        self._done = torch.cuda.Event()
        self._kept = device, scratch  # the graph has their addresses alone

    def replay(self, ids: np.ndarray, slot: np.ndarray, position: np.ndarray, table: np.ndarray
               ) -> torch.Tensor:
        """Return the logits (rows, vocab) float32, which the next replay overwrites."""
        self._done.synchronize()  # the copy before this one may still read the array
        self._ids[:], self._slot[:], self._position[:] = ids, slot, position
        self._table[:, :table.shape[1]] = table
        self._graph.replay()
        self._done.record()
        return self._logits

    def _views(self, array, start: int, length: int):
        rows = self._rows
        return (array[:rows], array[start:start + rows], array[2 * start:2 * start + rows],
                array[3 * start:].reshape(rows, length))
