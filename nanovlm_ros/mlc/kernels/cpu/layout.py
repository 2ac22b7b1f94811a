# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How the CPU kernels want weights: 16 rows side by side, a word of eight nibbles a row.

MLC stores the columns of a row side by side, eight in a word, as value + 7, and so do we in
the embedding table. In a matrix a word holds four columns in the low nibbles of its bytes and
the four that lie 16 further in the high ones: two operations then leave the bytes that an
integer dot product takes. Only nibbles move, no value changes.

The scales of a group lie behind its words, so that a thread reads one stream: with two, memory
gave a tenth less. numpy only, little-endian.
"""
from typing import Mapping

import numpy as np

from nanovlm_ros.mlc.mlc_layout import Group
from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES, Quantization
from nanovlm_ros.mlc.shape import Parameters

BLOCK = 1 << 18  # bytes moved at a time: they stay in the processor's cache

CODES = GROUP // NIBBLES * LANES  # int32 words of 16 rows of a group, without their scales

# Of each 16 bits: the four nibbles, in the low halves of four bytes.
_FOURS = np.arange(1 << 16, dtype=np.uint32)
_FOURS = (_FOURS & 0xFF) | (_FOURS & 0xFF00) << 8
_FOURS = (_FOURS & 0x000F000F) | (_FOURS & 0x00F000F0) << 4


def matrix_parameters(rows: int, columns: int, quantization: Quantization) -> Parameters:
    """Return how a matrix (rows, columns) is laid out."""
    blocks = rows // LANES
    if not quantization.quantized:
        return {'weight': ((blocks, columns, LANES), quantization.weight)}
    return {'weight': ((blocks, columns // NIBBLES, LANES), 'int32'),
            'scale': ((blocks, columns // GROUP, LANES), quantization.scale)}


def group_words(scale: str) -> int:
    """Return how many int32 words 16 rows of a group take, with scales of that type."""
    return CODES + LANES * np.dtype(scale).itemsize // 4


def joined(parameters: Parameters) -> Parameters:
    """Return the arrays of the library, made of `parameters` by the names of all.

    A 4-bit matrix is one, `weight`: int32 (n / 16, k / 32, `group_words`).
    """
    out = dict(parameters)
    for name in parameters:
        weight, scale = _parts(name)
        if weight == name and scale in parameters and len(parameters[scale][0]) == 3:
            (blocks, groups, _), dtype = out.pop(scale)
            out[name] = (blocks, groups, group_words(dtype)), 'int32'
    return out


def write(name: str, array: np.ndarray, weights: Mapping[str, np.ndarray]) -> None:
    """Write an array of `joined` from the parameters by their names, each asked for once."""
    if array.ndim == 3 and array.dtype == np.int32:
        _, scale = _parts(name)
        array[..., :CODES] = weights[name].reshape(*array.shape[:2], CODES)
        scales = weights[scale]
        array[..., CODES:].view(scales.dtype)[...] = scales
    else:
        array[...] = weights[name]


def _parts(name: str):
    stem = name.rpartition('.')[0]
    return f'{stem}.weight', f'{stem}.scale'


def pack(group: Group, part: str, array: np.ndarray) -> np.ndarray:
    """Lay out one parameter of a matrix."""
    words = array.dtype == np.uint32
    return lanes_last(array, words)


def lanes_last(matrix: np.ndarray, words: bool) -> np.ndarray:
    """(n, c) -> (n / 16, c, 16): 16 rows side by side; MLC's `words` become ours, int32."""
    n, c = matrix.shape
    out = np.empty((n // LANES, c, LANES), np.int32 if words else matrix.dtype)
    step = max(1, BLOCK // (LANES * c * matrix.itemsize))
    for start in range(0, n // LANES, step):
        block = matrix[start * LANES:(start + step) * LANES]
        if words:
            block = _interleave(block)
        out[start:start + step] = block.reshape(-1, LANES, c).transpose(0, 2, 1)
    return out


def _interleave(words: np.ndarray) -> np.ndarray:
    """MLC's words (n, columns / 8) -> ours, int32."""
    n, c = words.shape
    fours = _FOURS[np.ascontiguousarray(words).view(np.uint16)].reshape(
        n, c * NIBBLES // GROUP, 2, GROUP // NIBBLES)  # row, group, half of the group, four
    return (fours[:, :, 0] | fours[:, :, 1] << 4).reshape(n, c).view(np.int32)
