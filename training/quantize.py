# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The 4-bit scheme of the inference engine, with gradients passed straight through.

Groups of 32 along the input dimension share a scale, max|w| / 7 stored as float16 (at least 1e-6);
q = clip(round(w / scale) + 7, 0, 14) and w' = (q - 7) * scale.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 32


def dequantized(weight: Tensor) -> Tensor:
    """The float32 values that a 4-bit copy of weight [out, in] holds; in % 32 must be 0."""
    if weight.shape[-1] % GROUP:
        raise ValueError(f'The input dimension {weight.shape[-1]} is not a multiple of {GROUP}.')
    w = weight.detach().float().unflatten(-1, (-1, GROUP))
    scale = (w.abs().amax(-1, keepdim=True) / 7).clamp_min(1e-6).half().float()
    return (torch.clamp(torch.round(w / scale) + 7, 0, 14).sub(7) * scale).flatten(-2)


def fake_quantize(weight: Tensor) -> Tensor:
    """dequantized(weight) forward, identity backward."""
    return weight + (dequantized(weight) - weight.float()).to(weight.dtype).detach()
