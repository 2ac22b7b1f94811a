# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder on an NVIDIA GPU: torch's memory and stream, TVM's kernels, a graph for decoding."""
from pathlib import Path
from typing import Dict, Mapping, Tuple

import numpy as np
import torch

from nanovlm_ros.mlc.cuda import runtime, torch_functions
from nanovlm_ros.mlc.cuda.decode_graph import DecodeGraph
from nanovlm_ros.mlc.language_model import LanguageModel, rope_tables
from nanovlm_ros.mlc.shape import DecoderShape

SHORTEST = 256  # rows of the shortest table that a graph is made for; then twice that, and so on


class CudaLanguageModel(LanguageModel):
    """Rows pass through the library's functions; a token of each sequence through a graph.

    One slot past those of the cache takes what nobody reads: the rows of a graph's rehearsals.
    """

    def __init__(self, shape: DecoderShape, library: Path, weights: Mapping[str, np.ndarray], *,
                 rope_theta: float, positions: int, slots: int):
        runtime.prepare()
        torch_functions.register()
        import tvm
        import tvm_ffi
        from tvm.runtime.vm import VirtualMachine

        super().__init__(torch.device('cuda'), shape.vocab, positions, slots)
        self._shape = shape
        self._adopt = tvm.runtime.from_dlpack
        machine = VirtualMachine(runtime.load_library(library), tvm.cuda(0))
        self._embed, self._run, self._decode, self._decode_one = (
            machine[name] for name in ('embed', 'run', 'decode', 'decode_one'))
        self._weights = tvm_ffi.convert(
            [self._move(weights[name]) for name in shape.parameter_names()])
        rope = [self._move(table) for table in rope_tables(shape.rotated, rope_theta, positions)]
        pool = torch.zeros((shape.layers, 2, slots + 1, shape.kv_heads, shape.head_dim),
                           dtype=torch.float16, device=self.device)
        self._cache_arguments = (*rope, self._adopt(pool))
        self._graphs: Dict[Tuple[int, int], DecodeGraph] = {}

    def _embed_tokens(self, ids: np.ndarray) -> torch.Tensor:
        return torch.from_dlpack(self._embed(self._move(ids), self._weights))

    def _run_rows(self, batch, rows: torch.Tensor, slot, sequence, position) -> torch.Tensor:
        counts = np.array([count for _, count in batch], np.int32)
        ends = np.cumsum(counts, dtype=np.int32)
        lengths = np.array([self.cache.length(s) for s, _ in batch], np.int32)
        span = torch.from_numpy(np.stack([ends - counts, counts, lengths], 1)).clone()  # aligned
        table = self.cache.table([s for s, _ in batch])
        slot, sequence, position, table, last = self._move_together(
            slot, sequence, position, table, ends - 1)
        logits, _ = self._run(self._adopt(rows), slot, sequence, position, self._adopt(span), table,
                              last, *self._cache_arguments, self._weights)
        return torch.from_dlpack(logits)

    def _decode_tokens(self, batch, ids: np.ndarray, slot, sequence, position) -> torch.Tensor:
        table = self.cache.table([s for s, _ in batch])
        graph = self._graph(len(batch), table.shape[1])
        return graph.replay(ids, slot, position, table)

    def _graph(self, rows: int, longest: int) -> DecodeGraph:
        length = SHORTEST
        while length < longest:
            length *= 2
        key = rows, min(length, self.positions)
        if key not in self._graphs:
            decode = self._decode_one if rows == 1 else self._decode
            self._graphs[key] = DecodeGraph(
                self._shape, lambda *inputs: torch.from_dlpack(decode(
                    *map(self._adopt, inputs), *self._cache_arguments, self._weights)[0]),
                *key, spare_slot=self.cache.slots)
        return self._graphs[key]

    def _move(self, array: np.ndarray):
        """Copy an array to the GPU for TVM."""
        return self._adopt(torch.from_numpy(np.require(array, requirements='CW')).to(self.device))

    def _move_together(self, *arrays: np.ndarray):
        """Copy int32 arrays to the GPU in one go, each at 64 bytes, as TVM wants it."""
        padded = [np.concatenate([a.reshape(-1), np.zeros(-a.size % 16, np.int32)]) for a in arrays]
        moved = torch.from_numpy(np.concatenate(padded)).to(self.device)
        pieces = moved.split([len(p) for p in padded])
        return [self._adopt(piece[:a.size].view(a.shape)) for piece, a in zip(pieces, arrays)]
