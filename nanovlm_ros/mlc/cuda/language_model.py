# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder on an NVIDIA GPU: torch's memory and stream, TVM's kernels, steps in CUDA graphs."""
from collections import OrderedDict
from pathlib import Path
from typing import Dict, Mapping, Tuple

import numpy as np
import torch

from nanovlm_ros.mlc.cuda import runtime, torch_functions
from nanovlm_ros.mlc.cuda.decode_graph import DecodeGraph
from nanovlm_ros.mlc.cuda.fill_graph import FillGraph, Make
from nanovlm_ros.mlc.cuda.recording import Recorder
from nanovlm_ros.mlc.language_model import LanguageModel, rope_tables
from nanovlm_ros.mlc.shape import DecoderShape

SHORTEST = 256     # rows of the shortest table that a graph is made for; then twice that, and so on
FILLS = 8          # makes of batches whose graphs are kept, the last used ones
REMEMBERED = 64    # makes that were seen once
MARGIN = 256 << 20  # bytes: with less, TVM may give memory back that graphs write to


class CudaLanguageModel(LanguageModel):
    """A token of each sequence passes through a graph, and so do rows whose make comes again.

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
        self._recorder = Recorder()
        self._decodes: Dict[Tuple[int, int], DecodeGraph] = {}
        self._fills: 'OrderedDict[Make, FillGraph]' = OrderedDict()
        self._seen: 'OrderedDict[Make, None]' = OrderedDict()

    def _embed_tokens(self, ids: np.ndarray) -> torch.Tensor:
        return torch.from_dlpack(self._embed(self._move(ids), self._weights))

    def _run_rows(self, batch, rows: torch.Tensor, slot, sequence, position) -> torch.Tensor:
        make = tuple((count, self.cache.length(s)) for s, count in batch)
        table = self.cache.table([s for s, _ in batch])
        last = np.cumsum([count for count, _ in make], dtype=np.int32) - 1
        arrays = slot, sequence, position, table, last
        graph = self._fill_graph(make)
        if graph is not None:
            return graph.replay(rows, arrays)
        return self._launch(make, rows, *map(self._move_raw, arrays))

    def _launch(self, make: Make, rows: torch.Tensor, *arrays: torch.Tensor) -> torch.Tensor:
        """Run a batch kernel by kernel."""
        slot, sequence, position, table, last = map(self._adopt, arrays)
        counts = np.array([count for count, _ in make], np.int32)
        span = torch.from_numpy(np.stack(
            [np.cumsum(counts, dtype=np.int32) - counts, counts,
             np.array([length for _, length in make], np.int32)], 1)).clone()  # aligned
        logits, _ = self._run(
            self._adopt(rows), slot, sequence, position, self._adopt(span), table, last,
            *self._cache_arguments, self._weights)
        return torch.from_dlpack(logits)

    def _fill_graph(self, make: Make):
        """Return the graph of a make, recorded when it comes for the second time; else None."""
        if make in self._fills:
            self._fills.move_to_end(make)
            return self._fills[make]
        self._keep_margin()
        if make not in self._seen:
            _remember(self._seen, make, None, REMEMBERED)
            return None
        graph = FillGraph(make, self._shape.hidden,
                          lambda rows, *arrays: self._launch(make, rows, *arrays),
                          self.cache.slots, self._recorder)
        _remember(self._fills, make, graph, FILLS)
        return graph

    def _decode_tokens(self, batch, ids: np.ndarray, slot, sequence, position) -> torch.Tensor:
        table = self.cache.table([s for s, _ in batch])
        graph = self._decode_graph(len(batch), table.shape[1])
        return graph.replay(ids, slot, position, table)

    def _decode_graph(self, rows: int, longest: int) -> DecodeGraph:
        length = SHORTEST
        while length < longest:
            length *= 2
        key = rows, min(length, self.positions)
        if key not in self._decodes:
            self._keep_margin()
            decode = self._decode_one if rows == 1 else self._decode
            self._decodes[key] = DecodeGraph(
                self._shape, lambda *inputs: torch.from_dlpack(decode(
                    *map(self._adopt, inputs), *self._cache_arguments, self._weights)[0]),
                *key, self.cache.slots, self._recorder)
        return self._decodes[key]

    def _keep_margin(self) -> None:
        """Forget the graphs while there still is memory: they do not own what they write to."""
        if torch.cuda.mem_get_info()[0] < MARGIN:
            self._fills.clear()
            self._decodes.clear()
            self._seen.clear()

    def _move_raw(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.require(array, requirements='CW')).to(self.device)

    def _move(self, array: np.ndarray):
        """Copy an array to the GPU for TVM."""
        return self._adopt(self._move_raw(array))


def _remember(kept: OrderedDict, key, value, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)
