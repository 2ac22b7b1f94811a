# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Matrices of vision in 8 bits that multiply with activations in 8 bits, on a CPU."""
from typing import Callable

import torch
from torch import nn

from nanovlm_ros.mlc.cpu_companion import CpuCompanion, PackedMatrix, pack
from nanovlm_ros.mlc.kernels.cpu.names import FUSED
from nanovlm_ros.mlc.packing import LANES
from nanovlm_ros.models.activated_linear import FUNCTIONS, activation_of
from nanovlm_ros.models.quantized_linear import QuantizedLinear, quantize


class Int8Linear(nn.Module):
    """y = act(x) W^T + b, of the values that `QuantizedLinear` has, through our kernels.

    What is multiplied, of W and of act(x), is int8 in groups of 32 along the inputs.
    """

    def __init__(self, linear: nn.Linear, kernels: CpuCompanion):
        super().__init__()
        self._kernels, self._inputs = kernels, linear.in_features
        activation = activation_of(linear)
        self._fused = activation if activation in FUSED else ''
        self._activate = FUNCTIONS['' if self._fused else activation]
        bias = linear.bias if linear.bias is not None else torch.zeros(linear.out_features)
        for name, part in pack(*quantize(linear.weight), bias.detach())._asdict().items():
            self.register_buffer(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., inputs) -> (..., outputs), float32."""
        rows = self._activate(x).reshape(-1, self._inputs)
        matrix = PackedMatrix(self.weight, self.scale, self.bias)
        return self._kernels.linear(rows, matrix, self._fused).view(*x.shape[:-1], -1)


def in_int8(linear: nn.Linear, kernels: Callable[[], CpuCompanion]) -> nn.Module:
    """Return what takes the place of a matrix: ours, if its sides are multiples of 16."""
    if linear.in_features % LANES or linear.out_features % LANES:
        return QuantizedLinear(linear)
    return Int8Linear(linear, kernels())
