# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA functions of `source/` as PrimFuncs: parameters, template arguments, grids."""
from functools import lru_cache

from nanovlm_ros.mlc.kernels.cuda.launch import launch
from nanovlm_ros.mlc.kernels.cuda.layout import EACH, matrix_parameters, readers, tiles
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import table_parameters

W4 = QUANTIZATIONS['q4f16_1']
# How a product ends; see linear.cu.
STORE_HALF, STORE_FLOAT, GATE = 'STORE_HALF', 'STORE_FLOAT', 'GATE'

TILES_EACH = 20  # that a block takes of a product whose parts are added later


def splits(columns: int) -> int:
    """Return among how many blocks the columns of such a product are shared."""
    return -(-tiles(columns) // TILES_EACH) if tiles(columns) > TILES_EACH else 2


def _half(*shape):
    return shape, 'float16'


def _float(*shape):
    return shape, 'float32'


def _int(*shape):
    return shape, 'int32'


@lru_cache
def linear(rows, columns, end, parts=1, one=False):
    """x (m, columns) half, weight, scale, y: a 4-bit matrix times a few rows, ending in `end`.

    With `parts`, y is (parts, m, rows), to be added. `one` says that m is 1.
    """
    m = 1 if one else 'm'
    y = {GATE: _half(m, rows // 2), STORE_HALF: _half(m, rows), STORE_FLOAT: _float(m, rows)}[end]
    return launch(
        'linear.cu', f'w4_linear<{rows}, {columns}, {parts}, {end}, {str(one).lower()}>',
        [_half(m, columns), *matrix_parameters(rows, columns, W4).values(),
         y if parts == 1 else _float(parts, m, rows)],
        [0, 1, 2, 3, str(m)], [rows // 16, parts, 1 if one else ('m', 8)], 256)


@lru_cache
def dequantize(rows, columns, gated):
    """weight, scale, y (rows, columns) half: a 4-bit matrix written out."""
    return launch(
        'linear.cu', f'w4_dequantize<{rows}, {columns}, {str(gated).lower()}>',
        [*matrix_parameters(rows, columns, W4).values(), _half(rows, columns)],
        [0, 1, 2], [rows // 16, -(-tiles(columns) // 8)], 256)


@lru_cache
def norm(columns, layer, eps, parts=0):
    """x (m, columns) float, weight, [bias,] y half: a layer norm, or an RMS norm.

    With `parts`: parts (parts, m, columns) float, weight, [bias,] x, y; x += parts, before.
    """
    vectors = [_float(columns)] * (2 if layer else 1)
    function = f'normalize<{columns}, {str(layer).lower()}, {parts}>'
    rows, out = _float('m', columns), _half('m', columns)
    last = len(vectors)
    if not parts:
        return launch('elementwise.cu', function, [rows, *vectors, out],
                      [0, 0, 1, last, last + 1, float(eps)], ['m'], 512)
    return launch('elementwise.cu', function, [_float(parts, 'm', columns), *vectors, rows, out],
                  [last + 1, 0, 1, last, last + 2, float(eps)], ['m'], 512)


@lru_cache
def embedding(rows, columns, quantization):
    """ids (m,), table, [scale,] y (m, columns) float: rows of an embedding table."""
    table = list(table_parameters(rows, columns, quantization).values())
    name = 'w4_embedding' if quantization.quantized else 'half_embedding'
    return launch('elementwise.cu', f'{name}<{columns}>',
                  [_int('m'), *table, _float('m', columns)], list(range(len(table) + 2)), ['m'],
                  256)


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
    """One row of each of m sequences; see attend_row.cu.

    Parameters: qkv, cos, sin, pool (written), table (m, length), slot, position (m,), part,
    counter (zero), layer, out (m, q_heads * head_dim) half.
    """
    warps = readers(q_heads // kv_heads, head_dim)
    return launch(
        'attend_row.cu',
        f'attend_row<{q_heads}, {kv_heads}, {head_dim}, {rotated}, {warps}, {EACH}>',
        [_half('m', (q_heads + 2 * kv_heads) * head_dim), _float('positions', rotated // 2),
         _float('positions', rotated // 2), _pool(layers, kv_heads, head_dim),
         _int('m', 'length'), _int('m'), _int('m'), _float('parts'), _int('counters'),
         'layer', _half('m', q_heads * head_dim)],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 'layer', 'slots', 'length'],
        [('length', warps * EACH), kv_heads, 'm'], 32 * warps)


@lru_cache
def append_rows(q_heads, kv_heads, head_dim, layers):
    """qkv, slot (m,), pool (written), layer: store K and V of m rows."""
    return launch(
        'rows.cu', f'append_rows<{q_heads}, {kv_heads}, {head_dim}>',
        [_half('m', (q_heads + 2 * kv_heads) * head_dim), _int('m'),
         _pool(layers, kv_heads, head_dim), 'layer'],
        [0, 1, 2, 'layer', 'slots'], ['m'], 256)


@lru_cache
def rotate_queries(q_heads, kv_heads, head_dim, rotated):
    """qkv, cos, sin, position (m,), query (m, q_heads, head_dim) half."""
    return launch(
        'rows.cu', f'rotate_queries<{q_heads}, {kv_heads}, {head_dim}, {rotated}>',
        [_half('m', (q_heads + 2 * kv_heads) * head_dim), _float('positions', rotated // 2),
         _float('positions', rotated // 2), _int('m'), _half('m', q_heads, head_dim)],
        [0, 1, 2, 3, 4], ['m'], 256)


@lru_cache
def gather_rows(kv_heads, head_dim, rotated, layers):
    """pool, cos, sin, table, layer, key, value (sequences, length, kv_heads, head_dim) half."""
    rows = _half('sequences', 'length', kv_heads, head_dim)
    return launch(
        'rows.cu', f'gather_rows<{kv_heads}, {head_dim}, {rotated}>',
        [_pool(layers, kv_heads, head_dim), _float('positions', rotated // 2),
         _float('positions', rotated // 2), _int('sequences', 'length'), 'layer', rows, rows],
        [0, 1, 2, 3, 5, 6, 'layer', 'slots', 'length'], ['length', 'sequences'], 128)


@lru_cache
def sample():
    """logits (m, columns) float, settings (m, width), tokens (m,): see sample.cu."""
    return launch('sample.cu', 'sample',
                  [_float('m', 'columns'), _int('m', 'width'), _int('m')],
                  [0, 1, 2, 'columns', 'width'], ['m'], 1024)


@lru_cache
def int8_unpack():
    """q (rows, 32 groups) int8, scale (rows, groups) half, y (rows, columns) half = q scale.

    Scalars: blocks of 256 threads, for 16 numbers each.
    """
    return launch('unpack.cu', 'int8_unpack',
                  [(('rows', 'wide'), 'int8'), _half('rows', 'groups'), _half('rows', 'columns'),
                   'blocks'],
                  [0, 1, 2, 'rows', 'columns', 'groups'], ['blocks'], 256)
