# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention of a tower, every patch to every other: torch's, or our kernels' on a CPU."""
from typing import Callable

import torch
from torch import nn
from torch.nn import functional

from nanovlm_ros.mlc.cpu_companion import CpuCompanion
from nanovlm_ros.mlc.kernels.cpu.names import EIGHT


class Attention(nn.Module):
    """qkv (n, tokens, 3 * hidden) -> (n, tokens, hidden), both of the type of the weights."""

    def __init__(self, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim

    def forward(self, qkv: torch.Tensor) -> torch.Tensor:
        """Attend within each image."""
        n, tokens, _ = qkv.shape
        q, k, v = qkv.view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        return attended.transpose(1, 2).reshape(n, tokens, -1)


class Int8Attention(nn.Module):
    """The same in float32, with q, k, v and the weights of values rounded to int8 for products."""

    def __init__(self, attention: Attention, kernels: CpuCompanion):
        super().__init__()
        self._heads, self._kernels = attention.heads, kernels

    def forward(self, qkv: torch.Tensor) -> torch.Tensor:
        """Attend within each image."""
        return self._kernels.attention(qkv, self._heads)


def attend_in_int8(attention: Attention, kernels: Callable[[], CpuCompanion]) -> nn.Module:
    """Return what takes the place of attention: ours, if the kernels can read its heads."""
    return attention if attention.head_dim % EIGHT else Int8Attention(attention, kernels())
