# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Matrices of vision in 8 bits: MLC's q8f16_1, groups of 32 along the inputs."""
from typing import Callable, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional

from nanovlm_ros.mlc.packing import GROUP
from nanovlm_ros.models.activated_linear import FUNCTIONS, activation_of

LARGEST = 127
SCALE = torch.float16
ROWS = 256  # of a matrix that are quantised at once

# (q, scale, inputs) -> W (outputs, inputs) in the type of x.
Unpack = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


class QuantizedLinear(nn.Module):
    """y = act(x) W^T + b; W is written out in the type of x for each product.

    weight (outputs, inputs) int8, scale (outputs, inputs / 32) float16, with inputs rounded up to
    whole groups: what is missing is 0.
    """

    def __init__(self, linear: nn.Linear, unpack: Optional[Unpack] = None):
        """`unpack` may write W out faster than torch can."""
        super().__init__()
        self._inputs, self.bias, self._unpack = linear.in_features, linear.bias, unpack
        self._activate = FUNCTIONS[activation_of(linear)]
        weight, scale = quantize(linear.weight)
        self.register_buffer('weight', weight)
        self.register_buffer('scale', scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., inputs) -> (..., outputs), of the type of x."""
        if self._unpack is not None:
            weight = self._unpack(self.weight, self.scale, self._inputs)
        else:
            weight = dequantize(self.weight, self.scale.to(x.dtype))[:, :self._inputs]
        return functional.linear(self._activate(x), weight, self.bias)


@torch.no_grad()
def quantize(weight: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Return (q int8 in [-127, 127], scale float16) of a matrix (outputs, inputs).

    q has columns of 0 up to a whole group. The scale of a group is max|w| / 127, rounded before q
    is chosen, so that q is the nearest to w that this scale can say.
    """
    # A few rows at a time, which stay in a processor's cache.
    q, scale = zip(*map(_quantize, weight.split(ROWS)))
    return torch.cat(q), torch.cat(scale)


def _quantize(weight: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    groups = functional.pad(weight.float(), (0, -weight.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
    # The least float16 keeps a group of zeros finite.
    scale = (groups.abs().amax(-1) / LARGEST).clamp(min=2 ** -24).to(SCALE)
    q = (groups / scale.float()[..., None]).round().clamp(-LARGEST, LARGEST)
    return q.to(torch.int8).flatten(1), scale


def dequantize(q: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the matrix that (q, scale) stands for, of the type of `scale`."""
    return (q.unflatten(1, (-1, GROUP)) * scale[..., None]).flatten(1)


def quantized_bytes(linear: nn.Linear) -> int:
    """Return the bytes that the weights of a matrix take when it is quantised."""
    groups = -(-linear.in_features // GROUP)
    return linear.out_features * groups * (GROUP + SCALE.itemsize)
