# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The products of vision on a CPU, in int8: a library that serves every model.

It holds `multiply`, and `quantize` for each of the functions that can be applied to x before.
"""
from pathlib import Path
from typing import NamedTuple

import torch

from nanovlm_ros.mlc.kernels.cpu.names import FUSED, MULTIPLY, quantize_name
from nanovlm_ros.mlc.packing import GROUP, LANES, TILE, WORDS

ALIGNMENT = 64  # bytes: the kernels load whole registers


class PackedMatrix(NamedTuple):
    """W (n, k) and b, as `kernels.cpu.linear_tiles` takes them; k counts whole groups."""

    weight: torch.Tensor  # (n / 16, k / 32, 8, 16) int32
    scale: torch.Tensor   # (n / 16, k / 32, 16) float16
    bias: torch.Tensor    # (n,) float32


class CpuCompanion:
    """Runs the functions of the library over torch's memory."""

    def __init__(self, library: Path):
        import tvm

        functions = tvm.runtime.load_module(str(library))
        self._multiply = functions[MULTIPLY]
        self._quantize = {name: functions[quantize_name(name)] for name in FUSED}

    def linear(self, x: torch.Tensor, matrix: PackedMatrix, activation: str) -> torch.Tensor:
        """Return act(x) W^T + b, (m, n) float32, of x (m, k) float32; `activation` is in FUSED.

        k is a multiple of 16, and that of W but for half a group.
        """
        x = x.contiguous()
        if x.data_ptr() % ALIGNMENT:
            x = x.clone()
        groups = -(-x.shape[1] // GROUP)
        q = torch.empty((-(-len(x) // TILE), groups * TILE, WORDS), dtype=torch.int32)
        self._quantize[activation](x, q)
        y = torch.empty((len(x), len(matrix.bias)))
        self._multiply(q, *matrix, y)
        return y


def pack(q: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> PackedMatrix:
    """Lay out a matrix q (n, k) int8, with whole groups, scale (n, k / 32) float16, b (n,)."""
    n, groups = scale.shape
    words = q.view(torch.int32).view(n // LANES, LANES, groups, -1)
    return PackedMatrix(words.permute(0, 2, 3, 1).contiguous(),
                        scale.view(n // LANES, LANES, groups).transpose(1, 2).contiguous(),
                        bias)
