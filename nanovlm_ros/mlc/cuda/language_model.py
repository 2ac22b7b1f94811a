# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder on an NVIDIA GPU: torch's memory and stream, TVM's kernels, steps in CUDA graphs."""
from math import prod
from pathlib import Path
from typing import Iterator, Mapping

import numpy as np
import torch

from nanovlm_ros.mlc.cuda import runtime, torch_functions
from nanovlm_ros.mlc.cuda.decode_graph import DecodeGraph
from nanovlm_ros.mlc.cuda.fill_graph import FillGraph, Make
from nanovlm_ros.mlc.cuda.graphs import Graphs, give_back
from nanovlm_ros.mlc.cuda.scratch import padded_length, padded_rows, scratch_bytes
from nanovlm_ros.mlc.language_model import LanguageModel, rope_tables
from nanovlm_ros.mlc.repack import library_parameters
from nanovlm_ros.mlc.shape import DecoderShape

MARGIN = 256 << 20  # bytes that stay free beside what a batch takes
ALIGNED = 256        # bytes at whose multiples a parameter begins


class CudaLanguageModel(LanguageModel):
    """A token of each sequence passes through a graph, and so do rows whose make comes again.

    One slot past those of the cache takes what nobody reads: the rows of rehearsals, and those
    that fill a batch up.
    """

    def __init__(self, shape: DecoderShape, library: Path, weights: Mapping[str, np.ndarray], *,
                 rope_theta: float, positions: int, slots: int):
        runtime.prepare()
        torch_functions.register()
        import tvm
        import tvm_ffi
        from tvm.runtime.vm import VirtualMachine

        device = torch.device('cuda', torch.cuda.current_device())
        super().__init__(device, shape.vocab, positions, slots)
        self._shape = shape
        self._adopt = tvm.runtime.from_dlpack
        machine = VirtualMachine(runtime.load_library(library), tvm.cuda(device.index))
        self._embed, self._run, self._decode, self._decode_one = (
            machine[name] for name in ('embed', 'run', 'decode', 'decode_one'))
        self._weights = tvm_ffi.convert([*map(self._adopt, self._place_weights(weights))])
        rope = [self._adopt(self._move(table))
                for table in rope_tables(shape.rotated, rope_theta, positions)]
        pool = torch.zeros((shape.layers, 2, slots + 1, shape.kv_heads, shape.head_dim),
                           dtype=torch.float16, device=device)
        self._cache_arguments = (*rope, self._adopt(pool))
        self._graphs = Graphs()

    def _place_weights(self, weights: Mapping[str, np.ndarray]) -> Iterator[torch.Tensor]:
        """Copy the parameters to the GPU, in the order of the library, into one block.

        torch would round each up to whole MiB: 70 MiB of a model of 3 billion parameters.
        """
        layout = library_parameters(self._shape)
        sizes = [-(-prod(size) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED
                 for size, dtype in layout.values()]
        block, start = torch.empty(sum(sizes), dtype=torch.uint8, device=self.device), 0
        for (name, (size, dtype)), room in zip(layout.items(), sizes):
            count = prod(size) * np.dtype(dtype).itemsize
            place = block[start:start + count].view(getattr(torch, dtype)).view(size)
            place.copy_(_readable(weights[name]))
            yield place
            start += room

    def _embed_tokens(self, ids: np.ndarray) -> torch.Tensor:
        found = self._embed(self._adopt(self._move(ids)), self._weights)
        # Not in TVM's memory: a graph may write there.
        return torch.from_dlpack(found).clone()

    def _run_rows(self, batch, rows: torch.Tensor, slot, sequence, position) -> torch.Tensor:
        make = tuple((count, self.cache.length(s)) for s, count in batch)
        length = padded_length(max(length for _, length in make), self.positions)
        filled = padded_rows(len(rows))
        table = np.zeros((len(make), length), np.int32)
        own = self.cache.table([s for s, _ in batch])
        table[:, :own.shape[1]] = own
        last = np.cumsum([count for count, _ in make], dtype=np.int32) - 1
        arrays = (_filled(slot, filled, self.cache.slots), _filled(sequence, filled, 0),
                  _filled(position, filled, 0), table, last)
        graph = self._graphs.fill(make)
        if graph is None:
            self._keep_memory(scratch_bytes(self._shape, filled, len(make), length))
            if not self._graphs.worth_recording(make):
                padding = rows.new_zeros((filled - len(rows), rows.shape[1]))
                return self._launch(make, torch.cat([rows, padding]), *map(self._move, arrays))
            graph = FillGraph(
                (filled, self._shape.hidden), [a.shape for a in arrays],
                lambda *inputs: self._launch(make, *inputs), self.cache.slots,
                self._graphs.recorder)
            self._graphs.keep(make, graph)
        return graph.replay(rows, arrays)

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

    def _decode_tokens(self, batch, ids: np.ndarray, slot, sequence, position) -> torch.Tensor:
        table = self.cache.table([s for s, _ in batch])
        key = len(batch), padded_length(table.shape[1], self.positions)
        if key not in self._graphs.decodes:
            self._keep_memory(scratch_bytes(self._shape, len(batch), len(batch), 0))
            self._graphs.decodes[key] = self._record_decode(*key)
        return self._graphs.decodes[key].replay(ids, slot, position, table)

    def _record_decode(self, rows: int, length: int) -> DecodeGraph:
        decode = self._decode_one if rows == 1 else self._decode
        return DecodeGraph(
            self._shape, lambda *inputs: torch.from_dlpack(decode(
                *map(self._adopt, inputs), *self._cache_arguments, self._weights)[0]),
            rows, length, self.cache.slots, self._graphs.recorder)

    def _keep_memory(self, wanted: int) -> None:
        """Give everything back before TVM runs short: it would give back what graphs write to."""
        if torch.cuda.mem_get_info()[0] < wanted + MARGIN:
            give_back()

    def _move(self, array: np.ndarray) -> torch.Tensor:
        """Copy an array to the GPU."""
        return _readable(array).to(self.device)


def _readable(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.require(array, requirements='CW'))


def _filled(array: np.ndarray, size: int, value: int) -> np.ndarray:
    return np.concatenate([array, np.full(size - len(array), value, np.int32)])
