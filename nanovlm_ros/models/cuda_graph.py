# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A function of one tensor as one launch."""
from typing import Callable

import torch

WARM_UP = 3  # calls: libraries choose their kernels and take their workspaces


class Graphed:
    """Replays what a function did with a CUDA tensor of one shape and type.

    The function must do the same whatever the tensor holds, wait for nothing and allocate
    through torch. Replays are in the order of the stream that is current then.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor):
        self._input = example.clone()
        stream = torch.cuda.Stream(example.device)
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(self._input)
        torch.cuda.current_stream(example.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # A stream of its own: what cuBLAS works in belongs to a stream, and must live as long.
        # Other threads may use the device meanwhile, for all that this one cares.
        with torch.cuda.graph(self._graph, stream=torch.cuda.Stream(example.device),
                              capture_error_mode='thread_local'):
            self._output = function(self._input)

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return what the function would; the next call writes over it."""
        self._input.copy_(value, non_blocking=True)
        self._graph.replay()
        return self._output
