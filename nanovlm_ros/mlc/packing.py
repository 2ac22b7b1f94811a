# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""4-bit group quantisation, and sizes that the kernels and the layouts share.

The scheme is MLC's q4f16_1 / q4f32_1: groups of 32 along the input dimension,
scale = max|w| / 7, q = round(w / scale) in [-7, 7]. numpy only.
"""
from dataclasses import dataclass

import numpy as np

GROUP = 32    # inputs that share a scale
LANES = 16    # rows of W side by side in a vector register
ZERO = 7      # a weight of zero, as a 4-bit code
NIBBLES = 8   # 4-bit values in an int32 word
BLOCK = 8     # rows of a sequence that attention reads the keys for at once
WORDS = GROUP // 4 + 2  # int32 of a group of int8 activations: numbers, scale, offset
TILE = 4      # rows of vision's activations that lie side by side


@dataclass(frozen=True)
class Quantization:
    """How weights are stored; `scale` is '' where they stay float."""

    name: str
    weight: str  # 'int4', 'float16' or 'float32'
    scale: str   # dtype of the scales

    @property
    def quantized(self) -> bool:
        return self.weight == 'int4'


QUANTIZATIONS = {q.name: q for q in (
    Quantization('q4f16_1', 'int4', 'float16'), Quantization('q4f32_1', 'int4', 'float32'),
    Quantization('q0f16', 'float16', ''), Quantization('q0f32', 'float32', ''))}


def quantize(weight: np.ndarray, scale_dtype: str):
    """Return (q int8 (n, k) in [-7, 7], scale (n, k / 32)) for a float (n, k) matrix.

    The scale is rounded to `scale_dtype` before q is chosen, so that q is the
    nearest to w that this scale can say.
    """
    n, k = weight.shape
    groups = weight.astype(np.float32).reshape(n, k // GROUP, GROUP)
    # 1e-6 keeps an all-zero group finite and is representable in float16.
    scale = np.maximum(np.abs(groups).max(-1) / 7, 1e-6).astype(scale_dtype)
    q = np.rint(groups / scale.astype(np.float32)[..., None])
    return np.clip(q, -7, 7).astype(np.int8).reshape(n, k), scale


def dequantize(q: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the float32 (n, k) matrix that (q, scale) stands for."""
    return q * np.repeat(scale.astype(np.float32), GROUP, axis=1)


def round_trip(weight: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Return the float32 matrix that the kernels effectively multiply with."""
    if quantization.weight == 'float32':
        return weight.astype(np.float32)
    if quantization.quantized:
        return dequantize(*quantize(weight, quantization.scale))
    return weight.astype(quantization.weight).astype(np.float32)
