# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The products and the attention of vision on a CPU, in int8: a library for every model.

It holds `multiply`, with a `quantize` for each of the functions that can be applied to x
before, and `attend`, with `pack_keys` before it.
"""
from pathlib import Path
from typing import NamedTuple

import torch

from nanovlm_ros.mlc.kernels.cpu.names import (
    ATTEND, FUSED, MULTIPLY, PACK_KEYS, quantize_name)
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
        self._multiply, self._pack_keys, self._attend = (
            functions[name] for name in (MULTIPLY, PACK_KEYS, ATTEND))
        self._workers = tvm.get_global_func('runtime.NumThreads')()
        self._quantize = {name: functions[quantize_name(name)] for name in FUSED}

    def linear(self, x: torch.Tensor, matrix: PackedMatrix, activation: str) -> torch.Tensor:
        """Return act(x) W^T + b, (m, n) float32, of x (m, k) float32; `activation` is in FUSED.

        k is a multiple of 16, and that of W but for half a group.
        """
        q = _words(-(-len(x) // TILE), groups(x.shape[1]) * TILE, WORDS)
        self._quantize[activation](_aligned(x), q)
        y = torch.empty((len(x), len(matrix.bias)))
        self._multiply(q, *matrix, y)
        return y

    def attention(self, qkv: torch.Tensor, heads: int) -> torch.Tensor:
        """Return softmax(q k^T / sqrt(d)) v of each head, (n, tokens, hidden) float32.

        qkv is (n, tokens, 3 * hidden) float32; d, hidden / heads, is a multiple of 8.
        """
        n, tokens, _ = qkv.shape
        parts = _aligned(qkv).view(n * tokens, 3, heads, -1)
        d = parts.shape[-1]
        keys, values = groups(tokens) * GROUP // LANES, -(-d // LANES)
        packed = (
            _words(n * heads * keys, groups(d), GROUP // 4, LANES),
            torch.empty((n * heads * keys, groups(d), LANES)),
            _words(n * heads * values, groups(tokens), GROUP // 4, LANES),
            torch.zeros((n * heads * values, groups(tokens), LANES)))  # also of no dimension
        self._pack_keys(parts, tokens, *packed)
        y = torch.empty((n * tokens, heads, d))
        self._attend(parts, tokens, *packed, torch.empty((self._workers, TILE, keys * LANES)),
                     _words(self._workers, groups(d) * TILE, WORDS),
                     _words(self._workers, groups(tokens) * TILE, WORDS), y)
        return y.view(n, tokens, -1)


def groups(count: int) -> int:
    """Return how many groups so many numbers fill."""
    return -(-count // GROUP)


def _words(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.int32)


def _aligned(x: torch.Tensor) -> torch.Tensor:
    x = x.contiguous()
    return x.clone() if x.data_ptr() % ALIGNMENT else x


def pack(q: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> PackedMatrix:
    """Lay out a matrix q (n, k) int8, with whole groups, scale (n, k / 32) float16, b (n,)."""
    n = len(q)
    words = q.view(torch.int32).view(n // LANES, LANES, scale.shape[1], -1)
    return PackedMatrix(words.permute(0, 2, 3, 1).contiguous(),
                        scale.view(n // LANES, LANES, -1).transpose(1, 2).contiguous(),
                        bias)
