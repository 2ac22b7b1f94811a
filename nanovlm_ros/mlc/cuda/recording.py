# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Work for the GPU that is recorded once and then launched as one: a CUDA graph."""
from math import prod
from typing import Callable, Sequence, Tuple

import torch

REHEARSALS = 2  # kernels are loaded, and memory is taken, before anything is recorded
ALIGNED = 16    # numbers: TVM wants arrays to begin at 64 bytes


class Recorder:
    """Where some recordings are made: a pool of memory, and a stream beside the common one.

    What cuBLAS works in belongs to a stream. On torch's common stream for graphs it may lie in
    the pool of a graph that is long gone, and be given back while another graph writes to it.
    """

    def __init__(self):
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()


class Recording:
    """What a function of TVM's and torch's does, with the addresses that it did it with.

    Its arrays must live as long as this, and what TVM gave it must not be given back: see
    `CudaLanguageModel`. No two recordings of a recorder may be replayed at once.
    """

    def __init__(self, function: Callable[[], torch.Tensor], recorder: Recorder):
        import tvm_ffi

        for _ in range(REHEARSALS):
            function()
        torch.cuda.synchronize()
        self._recorder, self._graph = recorder, torch.cuda.CUDAGraph()
        # relaxed: TVM may have to take memory, which the graph does not mind.
        with tvm_ffi.use_torch_stream(torch.cuda.graph(
                self._graph, pool=recorder.pool, stream=recorder.stream,
                capture_error_mode='relaxed')):
            self._output = function()

    def replay(self) -> torch.Tensor:
        """Return what the function would; the next replay writes over it."""
        self._graph.replay()
        return self._output


class HostArrays:
    """int32 arrays in the host's memory and their twins on the GPU, copied in one go."""

    def __init__(self, shapes: Sequence[Tuple[int, ...]]):
        starts, size = [], 0
        for shape in shapes:
            starts.append(size)
            size += -(-prod(shape) // ALIGNED) * ALIGNED
        self._host = torch.zeros(size, dtype=torch.int32).pin_memory()
        self._device = torch.zeros_like(self._host, device='cuda')
        self._copied = torch.cuda.Event()
        self.host, self.device = (
            [whole[start:start + prod(shape)].reshape(shape)
             for start, shape in zip(starts, shapes)]
            for whole in (self._host.numpy(), self._device))

    def wait(self) -> None:
        """Wait until what was copied last may be overwritten on the host."""
        self._copied.synchronize()

    def copy(self) -> None:
        """Copy all, in the order of the current stream; a recording may hold this."""
        self._device.copy_(self._host, non_blocking=True)

    def launched(self) -> None:
        """Note that a copy is on its way."""
        self._copied.record()
