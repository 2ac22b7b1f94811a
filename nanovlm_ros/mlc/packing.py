# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""4-bit group quantisation and the layouts in which the kernels read weights.

The scheme is MLC's q4f16_1 / q4f32_1: groups of 32 along the input dimension,
scale = max|w| / 7, q = round(w / scale) in [-7, 7]. numpy only.
"""
from dataclasses import dataclass
from typing import Dict, Optional

import numpy as np

GROUP = 32    # inputs that share a scale
LANES = 16    # rows of W side by side in a vector register
NIBBLES = 8   # 4-bit values in an int32 word
BLOCK = 8     # rows of a sequence that attention reads the keys for at once


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


def _lanes_last(matrix: np.ndarray) -> np.ndarray:
    """(n, c) -> (n / 16, c, 16): 16 rows side by side."""
    n, c = matrix.shape
    return np.ascontiguousarray(matrix.reshape(n // LANES, LANES, c).transpose(0, 2, 1))


def pack_words(q: np.ndarray) -> np.ndarray:
    """q int8 (n, k) -> int32 (n, k / 8); nibble i of a word is column 8 * word + i."""
    n, k = q.shape
    nibbles = (q.view(np.uint8) & 15).astype(np.uint32).reshape(n, k // NIBBLES, NIBBLES)
    shifts = np.arange(0, 4 * NIBBLES, 4, dtype=np.uint32)
    return np.bitwise_or.reduce(nibbles << shifts, axis=-1).view(np.int32)


def pack_linear(weight: np.ndarray, quantization: Quantization) -> Dict[str, np.ndarray]:
    """Lay out a float (n, k) matrix for `kernels.linear`: {'weight', ['scale']}."""
    _check(weight)
    if not quantization.quantized:
        return {'weight': _lanes_last(weight.astype(quantization.weight))}
    q, scale = quantize(weight, quantization.scale)
    return {'weight': _lanes_last(pack_words(q)), 'scale': _lanes_last(scale)}


def pack_embedding(weight: np.ndarray, quantization: Quantization) -> Dict[str, np.ndarray]:
    """Lay out a float (vocabulary, k) table for `kernels.embedding`, row by row."""
    _check(weight)
    if not quantization.quantized:
        return {'weight': np.ascontiguousarray(weight.astype(quantization.weight))}
    q, scale = quantize(weight, quantization.scale)
    return {'weight': pack_words(q), 'scale': scale}


def round_trip(weight: np.ndarray, quantization: Optional[Quantization]) -> np.ndarray:
    """Return the float32 matrix that the kernels effectively multiply with."""
    if quantization is None or quantization.weight == 'float32':
        return weight.astype(np.float32)
    if quantization.quantized:
        return dequantize(*quantize(weight, quantization.scale))
    return weight.astype(quantization.weight).astype(np.float32)


def _check(weight: np.ndarray) -> None:
    n, k = weight.shape
    if n % LANES or k % GROUP:
        raise ValueError(
            f'A weight matrix needs a multiple of {LANES} rows and of {GROUP} columns; '
            f'got {n} x {k}. Pad the checkpoint before converting it.')
