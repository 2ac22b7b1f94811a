# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A matrix and the function before it, in one module: kernels may do both at once."""
import torch
from torch import nn
from torch.nn import functional

FUNCTIONS = {
    '': lambda x: x,
    'gelu_pytorch_tanh': lambda x: functional.gelu(x, approximate='tanh'),
    'gelu': functional.gelu,
    'quick_gelu': lambda x: x * torch.sigmoid(1.702 * x),
}


class ActivatedLinear(nn.Linear):
    """y = act(x) W^T + b; `activation` is one of FUNCTIONS, by transformers' names."""

    def __init__(self, activation: str, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., inputs) -> (..., outputs)."""
        return super().forward(FUNCTIONS[self.activation](x))


def activation_of(linear: nn.Linear) -> str:
    """Return what is applied before a matrix; '' is nothing."""
    return linear.activation if isinstance(linear, ActivatedLinear) else ''
