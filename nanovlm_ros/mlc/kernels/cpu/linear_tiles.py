# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""y = x W^T + b, with W and x in int8 groups of 32: for many rows, of vision.

All dimensions are arguments: one library serves every matrix of every model. With x = a q and
w = b c a group of 32 gives a b (sum q c), an integer dot product.
"""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.quantize import FOURS, OFFSET, SCALE
from nanovlm_ros.mlc.packing import LANES, TILE, WORDS

# Registers of W that share what is read of x: with 4 rows, 8 sums of a group and 8 of all groups
# fit the 32 vector registers that AVX-512 and NEON have.
STRIPS = 2
CHUNK = 16  # tiles of x that pass a strip of W before the next thread may take over


@lru_cache
def product(dot):
    """Return what adds a tile of x times some rows of W to `total`, for kernels to inline.

    `dot` is an instruction set of `kernels.cpu.dot_int8`.
    """
    width = dot.width
    whole = T.ramp(0, 1, width)

    # A call's strips fill whole blocks of 16 rows, or lie in one: said so that TVM sees it.
    def block(first, strip):
        return first // LANES + strip * width // LANES

    def lane(first, strip):
        return first % LANES + strip * width if width < LANES else 0

    @T.inline
    def add(strips, q, t, weight, scale, first, groups, total):
        """total[r * strips + s, :] += x W^T: rows r of tile t, rows of W from `first` on.

        `strips` registers of them; q, W and its scale are as in `linear_tiles`.
        """
        with T.sblock('product'):
            T.reads()
            T.writes()
            part = T.sblock_alloc_buffer((TILE * strips, width), 'int32')
            codes = T.sblock_alloc_buffer((strips, width), 'int32')
            steps = T.sblock_alloc_buffer((strips, width), 'float32')
            for g in T.serial(groups):
                for r in T.unroll(TILE):
                    for s in T.unroll(strips):
                        part[r * strips + s, whole] = dot.start(q[t, g * TILE + r, OFFSET])
                for c in T.unroll(FOURS):
                    for s in T.unroll(strips):
                        codes[s, whole] = dot.codes(weight[
                            block(first, s), g, c, T.ramp(lane(first, s), 1, width)])
                    for r in T.unroll(TILE):
                        for s in T.unroll(strips):
                            part[r * strips + s, whole] = dot.dot(
                                part[r * strips + s, whole], codes[s, whole],
                                q[t, g * TILE + r, c])
                for s in T.unroll(strips):
                    for v in T.vectorized(width):
                        steps[s, v] = T.cast(
                            scale[block(first, s), g, lane(first, s) + v], 'float32')
                for r in T.unroll(TILE):
                    for s in T.unroll(strips):
                        for v in T.vectorized(width):
                            total[r * strips + s, v] = T.fma(
                                T.cast(part[r * strips + s, v], 'float32'),
                                steps[s, v] * T.reinterpret(
                                    'float32', q[t, g * TILE + r, SCALE]),
                                total[r * strips + s, v])

    return add


@lru_cache
def linear_tiles(dot):
    """Return a PrimFunc over q, W, W's scale, b (n,) float32, y (m, n) float32.

    q is what `quantize_tiles` makes; W is int32 (n/16, k/32, 8, 16), four int8 of a row in a word
    and 16 rows side by side, with a float16 scale (n/16, k/32, 16). `dot` is an instruction set
    of `kernels.cpu.dot_int8`.
    """
    width, add = dot.width, product(dot)

    @T.inline
    def tile(strips, t, first, q, weight, scale, bias, y, m, groups):
        with T.sblock('tile'):
            T.reads()
            T.writes()
            total = T.sblock_alloc_buffer((TILE * strips, width), 'float32')
            for r in T.unroll(TILE):
                for s in T.unroll(strips):
                    for v in T.vectorized(width):
                        total[r * strips + s, v] = bias[first + s * width + v]
            add(strips, q, t, weight, scale, first, groups, total)
            for r in T.unroll(TILE):
                if t * TILE + r < m:
                    for s in T.unroll(strips):
                        for v in T.vectorized(width):
                            y[t * TILE + r, first + s * width + v] = total[r * strips + s, v]

    @T.prim_func(s_tir=True)
    def kernel(q_: T.handle, weight_: T.handle, scale_: T.handle, bias_: T.handle,
               y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m, n, tiles, slots = T.int64(), T.int64(), T.int64(), T.int64()
        blocks, groups = T.int64(), T.int64()
        q = T.match_buffer(q_, (tiles, slots, WORDS), 'int32')
        weight = T.match_buffer(weight_, (blocks, groups, FOURS, LANES), 'int32')
        scale = T.match_buffer(scale_, (blocks, groups, LANES), 'float16')
        bias = T.match_buffer(bias_, (n,), 'float32')
        y = T.match_buffer(y_, (m, n), 'float32')
        chunks: T.let = (tiles + CHUNK - 1) // CHUNK
        # Those that share rows of W come one after the other: these stay near the processor.
        for task in T.parallel((n + STRIPS * width - 1) // (STRIPS * width) * chunks):
            first: T.let = task // chunks * (STRIPS * width)
            start: T.let = task % chunks * CHUNK
            for i in T.serial(T.min(T.int64(CHUNK), tiles - start)):
                if first + STRIPS * width <= n:
                    tile(STRIPS, start + i, first, q, weight, scale, bias, y, m, groups)
                else:  # n is a multiple of 16: an odd strip is left over where it has 16 lanes
                    tile(1, start + i, first, q, weight, scale, bias, y, m, groups)

    return kernel
