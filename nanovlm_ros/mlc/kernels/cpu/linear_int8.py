# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""y = x W^T or y += x W^T, with W in 4-bit groups of 32 and x in int8 groups of 32.

With x = a q and w = b (c - 7), c the code of a weight, a group of 32 gives
a b (sum q c - 7 sum q): an integer dot product, and a constant that all rows of W share.
"""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.layout import group_words
from nanovlm_ros.mlc.kernels.cpu.quantize import FOURS, OFFSET, SCALE
from nanovlm_ros.mlc.kernels.cpu.vector import scales
from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES, WORDS

LOW = 0x0F0F0F0F        # the low nibbles of a word
CHUNK = 256             # rows of x that stay in a processor's cache while W passes


@lru_cache
def linear_int8(n, k, scale_dtype, accumulate, dot):
    """Return a PrimFunc over x, W, y (m, n) float32.

    x is what `quantize_rows` makes; W is int32 (n/16, k/32, 64 words and 16 scales of
    `scale_dtype`), as `kernels.cpu.layout` joins it. With `accumulate`, y is added to. `dot` is
    an instruction set of `kernels.cpu.dot`.
    """
    blocks, groups, width = n // LANES, k // GROUP, dot.width
    words = GROUP // NIBBLES  # of W, of a group and row

    @T.inline
    def tile(rows, strips, first, block, lane, x, weight, y):
        # `strips` registers of rows of W from `lane` on, times `rows` rows of x.
        with T.sblock('tile'):
            T.reads()
            T.writes()
            total = T.sblock_alloc_buffer((rows * strips, width), 'float32')
            codes = T.sblock_alloc_buffer((FOURS, width), 'int32')
            part = T.sblock_alloc_buffer((width,), 'int32')
            steps = T.sblock_alloc_buffer((width,), 'float32')
            for r in T.unroll(rows):
                for s in T.unroll(strips):
                    for v in T.vectorized(width):
                        total[r * strips + s, v] = (
                            y[first + r, block * LANES + lane + s * width + v]
                            if accumulate else T.float32(0))
            for g in T.serial(groups):
                for s in T.unroll(strips):
                    # 1. Unpack: the low nibbles hold the first half of the group.
                    for j in T.unroll(words):
                        for v in T.vectorized(width):
                            codes[j, v] = weight[
                                block, g, j * LANES + lane + s * width + v] & LOW
                        for v in T.vectorized(width):
                            codes[words + j, v] = T.shift_right(weight[
                                block, g, j * LANES + lane + s * width + v], 4) & LOW
                    steps[T.ramp(0, 1, width)] = scales(
                        weight, block, g, lane + s * width, width, scale_dtype)
                    # 2. Each row of x, with the codes in registers.
                    for r in T.unroll(rows):
                        part[T.ramp(0, 1, width)] = dot.start(x[first + r, g, OFFSET])
                        for c in T.unroll(FOURS):
                            part[T.ramp(0, 1, width)] = dot.dot(
                                part[T.ramp(0, 1, width)], codes[c, T.ramp(0, 1, width)],
                                x[first + r, g, c])
                        part[T.ramp(0, 1, width)] = dot.finish(
                            part[T.ramp(0, 1, width)], x[first + r, g, OFFSET])
                        for v in T.vectorized(width):
                            total[r * strips + s, v] = T.fma(
                                T.cast(part[v], 'float32'),
                                steps[v] * T.reinterpret('float32', x[first + r, g, SCALE]),
                                total[r * strips + s, v])
            for r in T.unroll(rows):
                for s in T.unroll(strips):
                    for v in T.vectorized(width):
                        y[first + r, block * LANES + lane + s * width + v] = total[
                            r * strips + s, v]

    @T.inline
    def tiles(first, count, block, x, weight, y):
        """Rows of x from `first` on, in tiles of 8 and of what is left over."""
        for i in T.serial(count // 8):
            for lane in T.serial(LANES // width):
                tile(8, 1, first + i * 8, block, lane * width, x, weight, y)
        if count % 8 >= 4:
            for lane in T.serial(LANES // width):
                tile(4, 1, first + count // 8 * 8, block, lane * width, x, weight, y)
        if count % 4 >= 2:
            tile(2, LANES // width, first + count // 4 * 4, block, 0, x, weight, y)
        if count % 2 == 1:
            tile(1, LANES // width, first + count - 1, block, 0, x, weight, y)

    @T.prim_func(s_tir=True, private=True)
    def kernel(x_: T.handle, weight: T.Buffer((blocks, groups, group_words(scale_dtype)), 'int32'),
               y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        x = T.match_buffer(x_, (m, groups, WORDS), 'int32')
        y = T.match_buffer(y_, (m, n), 'float32')
        for chunk in T.serial((m + CHUNK - 1) // CHUNK):
            for block in T.parallel(blocks):
                tiles(chunk * CHUNK, T.min(T.int64(CHUNK), m - chunk * CHUNK), block, x, weight, y)

    return kernel
