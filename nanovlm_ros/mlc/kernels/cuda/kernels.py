# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA functions of `source/` as PrimFuncs: parameters, template arguments, grids."""
from functools import lru_cache

from nanovlm_ros.mlc.kernels.cuda.launch import launch
from nanovlm_ros.mlc.kernels.cuda.layout import KEYS, matrix_parameters, table_parameters, tiles
from nanovlm_ros.mlc.packing import QUANTIZATIONS

W4 = QUANTIZATIONS['q4f16_1']
# How a product ends, by what becomes of it; see linear.cu.
STORE_HALF, STORE_FLOAT, ADD_FLOAT, GATE = 'STORE_HALF', 'STORE_FLOAT', 'ADD_FLOAT', 'GATE'

TILES_EACH = 7   # of a warp, all on the way at once


def warps(columns: int) -> int:
    """Return how many warps share the columns of a matrix: enough, and a power of two."""
    return max(4, min(16, 1 << (-(-tiles(columns) // TILES_EACH) - 1).bit_length()))


def _half(*shape):
    return shape, 'float16'


def _float(*shape):
    return shape, 'float32'


def _int(*shape):
    return shape, 'int32'


@lru_cache
def linear(rows, columns, end):
    """x (m, columns) half, weight, scale, y: a 4-bit matrix times a few rows, ending in `end`."""
    y = _half('m', rows // 2 if end == GATE else rows) if end in (GATE, STORE_HALF) \
        else _float('m', rows)
    count = warps(columns)
    return launch(
        'linear.cu', f'w4_linear<{rows}, {columns}, {count}, {end}>',
        [_half('m', columns), *matrix_parameters(rows, columns, W4).values(), y],
        [0, 1, 2, 3, 'm'], [rows // 16, ('m', 8)], 32 * count)


@lru_cache
def dequantize(rows, columns, gated):
    """weight, scale, y (rows, columns) half: a 4-bit matrix written out."""
    return launch(
        'linear.cu', f'w4_dequantize<{rows}, {columns}, {str(gated).lower()}>',
        [*matrix_parameters(rows, columns, W4).values(), _half(rows, columns)],
        [0, 1, 2], [rows // 16, -(-tiles(columns) // 8)], 256)


@lru_cache
def norm(columns, layer, eps):
    """x (m, columns) float, weight, [bias,] y half: a layer norm, or an RMS norm."""
    vectors = [_float(columns)] * (2 if layer else 1)
    return launch(
        'elementwise.cu', f'normalize<{columns}, {str(layer).lower()}>',
        [_float('m', columns), *vectors, _half('m', columns)],
        [0, 1, len(vectors), len(vectors) + 1, float(eps)], ['m'], 256)


@lru_cache
def embedding(rows, columns, quantization):
    """ids (m,), table, [scale,] y (m, columns) float: rows of an embedding table."""
    table = list(table_parameters(rows, columns, quantization).values())
    name = 'w4_embedding' if quantization.quantized else 'half_embedding'
    return launch('elementwise.cu', f'{name}<{columns}>',
                  [_int('m'), *table, _float('m', columns)], list(range(len(table) + 2)), ['m'], 256)


@lru_cache
def take(columns):
    """x (m, columns) float, rows (b,), y (b, columns): some rows of x."""
    return launch('elementwise.cu', f'take<{columns}>',
                  [_float('m', columns), _int('b'), _float('b', columns)], [0, 1, 2], ['b'], 256)


@lru_cache
def silu_mul(columns):
    """x (m, 2 columns) half = [gate, up], y (m, columns) half."""
    return launch('elementwise.cu', f'silu_mul<{columns}>',
                  [_half('m', 2 * columns), _half('m', columns)], [0, 1], ['m'], 256)


@lru_cache
def add_half(columns):
    """y (m, columns) half, x (m, columns) float: x += y."""
    return launch('elementwise.cu', f'add_half<{columns}>',
                  [_half('m', columns), _float('m', columns)], [0, 1], ['m'], 256)


def _pool(layers, kv_heads, head_dim):
    return _half(layers, 2, 'slots', kv_heads, head_dim)


@lru_cache
def attend_row(q_heads, kv_heads, head_dim, rotated, layers):
    """One row of each of m sequences; see attention.cu.

    Parameters: qkv, cos, sin, pool (written), table (m, length), slot, position (m,), part,
    counter (zero), layer, out (m, q_heads * head_dim) half.
    """
    return launch(
        'attention.cu', f'attend_row<{q_heads}, {kv_heads}, {head_dim}, {rotated}>',
        [_half('m', (q_heads + 2 * kv_heads) * head_dim), _float('positions', rotated // 2),
         _float('positions', rotated // 2), _pool(layers, kv_heads, head_dim),
         _int('m', 'length'), _int('m'), _int('m'), _float('parts'), _int('counters'),
         'layer', _half('m', q_heads * head_dim)],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 'layer', 'slots', 'length'],
        [('length', KEYS), kv_heads, 'm'], 128)


@lru_cache
def append_rows(q_heads, kv_heads, head_dim, layers):
    """qkv, slot (m,), pool (written), layer: store K and V of m rows."""
    return launch(
        'attention.cu', f'append_rows<{q_heads}, {kv_heads}, {head_dim}>',
        [_half('m', (q_heads + 2 * kv_heads) * head_dim), _int('m'),
         _pool(layers, kv_heads, head_dim), 'layer'],
        [0, 1, 2, 'layer', 'slots'], ['m', 2 * kv_heads], 64)


@lru_cache
def rotate_queries(q_heads, kv_heads, head_dim, rotated):
    """qkv, cos, sin, position (m,), query (m, q_heads, head_dim) half."""
    return launch(
        'attention.cu', f'rotate_queries<{q_heads}, {kv_heads}, {head_dim}, {rotated}>',
        [_half('m', (q_heads + 2 * kv_heads) * head_dim), _float('positions', rotated // 2),
         _float('positions', rotated // 2), _int('m'), _half('m', q_heads, head_dim)],
        [0, 1, 2, 3, 4], ['m', q_heads], 64)


@lru_cache
def gather_rows(kv_heads, head_dim, rotated, layers):
    """pool, cos, sin, table, layer, key, value (sequences, length, kv_heads, head_dim) half."""
    rows = _half('sequences', 'length', kv_heads, head_dim)
    return launch(
        'attention.cu', f'gather_rows<{kv_heads}, {head_dim}, {rotated}>',
        [_pool(layers, kv_heads, head_dim), _float('positions', rotated // 2),
         _float('positions', rotated // 2), _int('sequences', 'length'), 'layer', rows, rows],
        [0, 1, 2, 3, 5, 6, 'layer', 'slots', 'length'], ['length', 'sequences'], 128)
