# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""y = x W^T or y += x W^T, with W in 4-bit groups of 32 or in float.

One thread takes 16 rows of W at a time, a row a lane, so that nothing is ever
summed across lanes. Rows of x go through in tiles of 8 that share the unpacking
of the weights; what is left over goes through in tiles of 4, 2 and 1.
Layouts are those of `kernels.cpu.layout`.
"""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.layout import group_words
from nanovlm_ros.mlc.kernels.cpu.vector import scales
from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES, ZERO

WORDS = GROUP // NIBBLES  # of a group
TILE = 8  # rows of x: their 8 sums and the unpacked weights fit 32 vector registers


def column_of(j, i):
    """Column of a group that nibble i of word j holds, see `kernels.cpu.layout`."""
    return i % 2 * (GROUP // 2) + j * 4 + i // 2


@lru_cache
def linear(n, k, weight_dtype, scale_dtype='', accumulate=False):
    """Return a PrimFunc over x (m, k), W, y (m, n); x and y are float32.

    W is int32 (n/16, k/32, 64 words and 16 scales of `scale_dtype`), or `weight_dtype`
    (n/16, k, 16). With `accumulate`, y is added to.
    """
    blocks, groups = n // LANES, k // GROUP
    quantized = weight_dtype == 'int4'
    size, kind = (((blocks, groups, group_words(scale_dtype)), 'int32') if quantized
                  else ((blocks, k, LANES), weight_dtype))

    def weight_at(weight, block, g, j, i, lane):
        """Expression for W[block * 16 + lane, g * 32 + column_of(j, i)], unscaled, as float32."""
        if not quantized:
            return T.cast(weight[block, g * GROUP + column_of(j, i), lane], 'float32')
        code = T.shift_right(weight[block, g, j * LANES + lane], 4 * i) & 15
        return T.cast(code - ZERO, 'float32')

    def steps_of(weight, block, g):
        """Expression for the scales of 16 rows, float32."""
        if not quantized:
            return T.broadcast(T.float32(1), LANES)
        return scales(weight, block, g, 0, LANES, scale_dtype)

    @T.inline
    def tile(rows, chains, first, block, x, weight, y):
        # `chains` independent sums hide the latency of the multiply-add in a lone row.
        with T.sblock('tile'):
            T.reads()
            T.writes()
            total = T.sblock_alloc_buffer((rows, LANES), 'float32')
            part = T.sblock_alloc_buffer((rows * chains, LANES), 'float32')
            steps = T.sblock_alloc_buffer((LANES,), 'float32')
            for r in T.unroll(rows):
                for v in T.vectorized(LANES):
                    total[r, v] = (y[first + r, block * LANES + v]
                                   if accumulate else T.float32(0))
            for g in T.serial(groups):
                for r in T.unroll(rows * chains):
                    for v in T.vectorized(LANES):
                        part[r, v] = T.float32(0)
                for j in T.unroll(WORDS):
                    for i in T.unroll(NIBBLES):
                        for r in T.unroll(rows):
                            for v in T.vectorized(LANES):
                                part[r * chains + i % chains, v] = T.fma(
                                    weight_at(weight, block, g, j, i, v),
                                    x[first + r, g * GROUP + column_of(j, i)],
                                    part[r * chains + i % chains, v])
                steps[T.ramp(0, 1, LANES)] = steps_of(weight, block, g)
                for r in T.unroll(rows):
                    for c in T.unroll(chains):
                        for v in T.vectorized(LANES):
                            total[r, v] = T.fma(part[r * chains + c, v], steps[v], total[r, v])
            for r in T.unroll(rows):
                for v in T.vectorized(LANES):
                    y[first + r, block * LANES + v] = total[r, v]

    @T.inline
    def run(m, x, weight, y):
        for block in T.parallel(blocks):
            for i in T.serial(m // TILE):
                tile(TILE, 1, i * TILE, block, x, weight, y)
            if m % TILE >= 4:
                tile(4, 1, m // TILE * TILE, block, x, weight, y)
            if m % 4 >= 2:
                tile(2, 2, m // 4 * 4, block, x, weight, y)
            if m % 2 == 1:
                tile(1, 4, m - 1, block, x, weight, y)

    @T.prim_func(s_tir=True, private=True)
    def kernel(x_: T.handle, weight: T.Buffer(size, kind), y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        x = T.match_buffer(x_, (m, k), 'float32')
        y = T.match_buffer(y_, (m, n), 'float32')
        run(m, x, weight, y)

    return kernel
