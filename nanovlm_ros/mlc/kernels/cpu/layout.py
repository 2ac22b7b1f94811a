# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How the CPU kernels want weights: 16 rows side by side, nibbles in two's complement.

MLC stores the columns of a row side by side and a 4-bit value as value + 7. Only whole
words move and nibbles change their code, so that no value changes. numpy only.
"""
import numpy as np

from nanovlm_ros.mlc.mlc_layout import Group
from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES, Quantization
from nanovlm_ros.mlc.shape import Parameters

BLOCK = 1 << 18  # bytes moved at a time: they stay in the processor's cache


def matrix_parameters(rows: int, columns: int, quantization: Quantization) -> Parameters:
    """Return how a matrix (rows, columns) is laid out."""
    blocks = rows // LANES
    if not quantization.quantized:
        return {'weight': ((blocks, columns, LANES), quantization.weight)}
    return {'weight': ((blocks, columns // NIBBLES, LANES), 'int32'),
            'scale': ((blocks, columns // GROUP, LANES), quantization.scale)}


def table_parameters(rows: int, columns: int, quantization: Quantization) -> Parameters:
    """Return how an embedding table (rows, columns) is laid out: row by row."""
    if not quantization.quantized:
        return {'weight': ((rows, columns), quantization.weight)}
    return {'weight': ((rows, columns // NIBBLES), 'int32'),
            'scale': ((rows, columns // GROUP), quantization.scale)}


def pack(group: Group, part: str, array: np.ndarray) -> np.ndarray:
    """Lay out one parameter of a matrix or of the embedding table."""
    words = array.dtype == np.uint32
    if group.name == 'embedding':
        return recode(array) if words else array
    return lanes_last(array, words)


def recode(words: np.ndarray) -> np.ndarray:
    """uint32 of eight nibbles, value + 7 each -> int32 of eight in two's complement."""
    out = np.empty(words.shape, np.int32)
    step = max(1, BLOCK // (4 * words.shape[1]))
    for start in range(0, len(words), step):
        out[start:start + step] = _twos_complement(words[start:start + step]).view(np.int32)
    return out


def lanes_last(matrix: np.ndarray, words: bool) -> np.ndarray:
    """(n, c) -> (n / 16, c, 16): 16 rows side by side; `words` are recoded to int32."""
    n, c = matrix.shape
    out = np.empty((n // LANES, c, LANES), np.int32 if words else matrix.dtype)
    step = max(1, BLOCK // (LANES * c * matrix.itemsize))
    for start in range(0, n // LANES, step):
        block = matrix[start * LANES:(start + step) * LANES]
        if words:
            block = _twos_complement(block).view(np.int32)
        out[start:start + step] = block.reshape(-1, LANES, c).transpose(0, 2, 1)
    return out


def _twos_complement(words: np.ndarray) -> np.ndarray:
    """Add 9 to each nibble modulo 16: value + 7 becomes value."""
    # + 1 among the low three bits, whose carry stops at the top one; + 8 turns the top one.
    out = words & np.uint32(0x77777777)
    out += np.uint32(0x11111111)
    out ^= ~words & np.uint32(0x88888888)
    return out
