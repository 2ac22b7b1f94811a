# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How the CUDA kernels want weights: tiles of 16 rows and 128 columns, in the order of lanes.

A warp takes a tile with two loads of 16 bytes a lane: lane (g, t) = (lane / 4, lane % 4) gets
of row g, then of row g + 8, four words, and word i holds columns 32 i + 8 t + 0..7. Nibble j
holds column 2 j and nibble j + 4 column 2 j + 1, as value + 7, so that one mask yields a pair.
Beside a tile lie its scales, four of row g and four of row g + 8 for each g. In `gate_up` row g
is one of the gate, and row g + 8 the one that it multiplies. Columns are filled up to a whole
tile with zeros. No value changes. numpy only.
"""
import numpy as np

from nanovlm_ros.mlc.mlc_layout import Group
from nanovlm_ros.mlc.packing import GROUP, NIBBLES, Quantization
from nanovlm_ros.mlc.shape import Parameters

ROWS, COLUMNS = 16, 128      # of a tile
EACH = 8                      # rows of the cache that a warp of attention reads
ZERO = np.uint32(0x77777777)  # eight times the value 0


def readers(group: int, head_dim: int) -> int:
    """Return the warps of a block of attention, for a group of heads that share their keys.

    The sums of all must fit the 48 KiB of shared memory that any GPU has for a block.
    """
    return next((n for n in (8, 4, 2) if n * group * (head_dim + 2) * 4 <= 40 << 10), 1)


def tiles(columns: int) -> int:
    """Return how many tiles lie side by side."""
    return -(-columns // COLUMNS)


def matrix_parameters(rows: int, columns: int, quantization: Quantization) -> Parameters:
    """Return how a matrix (rows, columns) is laid out."""
    if not quantization.quantized:
        return {'weight': ((rows, columns), quantization.weight)}
    across, down = tiles(columns), rows // ROWS
    return {'weight': ((down, across, 2, 32, 4), 'int32'),
            'scale': ((down, across, 8, 8), quantization.scale)}


def joined(parameters: Parameters) -> Parameters:
    """Return the arrays of the library, made of `parameters` by the names of all: the same."""
    return parameters


def pack(group: Group, part: str, array: np.ndarray) -> np.ndarray:
    """Lay out one parameter of a matrix."""
    words = array.dtype == np.uint32
    if not words and part != 'scale':
        return array
    if group.name.endswith('gate_up'):
        array = partners(array)
    return _words(array) if words else _scales(array)


def partners(matrix: np.ndarray) -> np.ndarray:
    """(2 n, c) = [gate, up] -> eight rows of the gate, the eight that they multiply, and so on."""
    n, c = len(matrix) // 2, matrix.shape[1]
    return matrix.reshape(2, n // 8, 8, c).transpose(1, 0, 2, 3).reshape(2 * n, c)


def _words(words: np.ndarray) -> np.ndarray:
    """uint32 (n, k / 8) -> int32 (n / 16, tiles, 2, 32, 4)."""
    n, across = len(words), tiles(words.shape[1] * NIBBLES)
    out = np.full((n, across * COLUMNS // NIBBLES), ZERO)
    _pair_up(words, out[:, :words.shape[1]])
    out = out.reshape(n // ROWS, 2, 8, across, 4, 4).transpose(0, 3, 1, 2, 5, 4)
    return np.ascontiguousarray(out).view(np.int32).reshape(n // ROWS, across, 2, 32, 4)


def _pair_up(words: np.ndarray, out: np.ndarray) -> None:
    """Nibbles 0 1 2 3 4 5 6 7 -> 0 2 4 6 1 3 5 7, from the lowest."""
    # Swap the middle pair of every four, then the middle bytes: a perfect shuffle backwards.
    swap = (words ^ words >> np.uint32(4)) & np.uint32(0x00f000f0)
    np.bitwise_xor(words, swap ^ swap << np.uint32(4), out=out)
    swap = (out ^ out >> np.uint32(8)) & np.uint32(0x0000ff00)
    out ^= swap ^ swap << np.uint32(8)


def _scales(scale: np.ndarray) -> np.ndarray:
    """(n, k / 32) -> (n / 16, tiles, 8, 8)."""
    n, groups = scale.shape
    across = tiles(groups * GROUP)
    out = np.zeros((n, across * 4), scale.dtype)
    out[:, :groups] = scale
    out = out.reshape(n // ROWS, 2, 8, across, 4).transpose(0, 3, 2, 1, 4)
    return np.ascontiguousarray(out).reshape(n // ROWS, across, 8, 8)
