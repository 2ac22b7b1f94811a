# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a GPU does beside the decoder: matrices of vision written out, tokens drawn."""
from pathlib import Path

import torch

from nanovlm_ros.mlc.cuda import runtime
from nanovlm_ros.mlc.cuda.names import SAMPLE, UNPACK

THREADS, EACH = 256, 16  # of a block of `int8_unpack`; numbers that a thread writes


class CudaCompanion:
    """Runs the functions of the library over torch's memory, in the order of its stream."""

    def __init__(self, library: Path):
        functions = runtime.load_library(library)
        self._unpack, self._sample = functions[UNPACK], functions[SAMPLE]

    def unpack(self, q: torch.Tensor, scale: torch.Tensor, columns: int) -> torch.Tensor:
        """Return q (rows, 32 groups) int8 times scale (rows, groups), float16 (rows, columns).

        `columns` is a multiple of 16, at most those of q.
        """
        out = torch.empty((len(q), columns), dtype=scale.dtype, device=q.device)
        self._unpack(q, scale, out, -(-out.numel() // (THREADS * EACH)))
        return out

    def sample(self, logits: torch.Tensor, settings: torch.Tensor) -> torch.Tensor:
        """Return the tokens (m,) int32 of logits (m, columns) float32; see sample.cu."""
        tokens = torch.empty(len(logits), dtype=torch.int32, device=logits.device)
        self._sample(logits.contiguous(), settings, tokens)
        return tokens
