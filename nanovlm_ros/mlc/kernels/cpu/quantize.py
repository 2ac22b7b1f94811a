# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Activations in int8 groups of 32, as the integer products take them.

Of a group, eight words hold four int8 each, round(x / scale); then come the bits of its
float32 scale, max|x| / 127, and the sum of its int8 times minus the code of a zero weight. A
group with a number that is not finite makes no finite product, as in float32.
"""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu import dot_int8
from nanovlm_ros.mlc.kernels.cpu.vector import LOG2E, PARALLEL, exp2, fold, fold_max
from nanovlm_ros.mlc.packing import GROUP, LANES, TILE, WORDS, ZERO

FOURS = GROUP // 4      # int32 words of four int8 in a group
SCALE, OFFSET = FOURS, FOURS + 1  # places of those words of a group

# x * sigmoid(z(x)) is what these activations are.
GATES = {
    '': None,
    'gelu_pytorch_tanh': lambda x: x * (
        T.float32(1.5957691216057308) + T.float32(0.07135481282553504) * x * x),
    'quick_gelu': lambda x: x * T.float32(1.702),
}


@T.inline
def quantize_group(value, zero, q, a, b):
    """q[a, b, :] = the words of value[0:32]."""
    with T.sblock('quantize_group'):
        T.reads()
        T.writes()
        largest = T.sblock_alloc_buffer((LANES,), 'int32')
        scratch = T.sblock_alloc_buffer((LANES,), 'int32')
        peak = T.sblock_alloc_buffer((1,), 'float32')
        near = T.sblock_alloc_buffer((GROUP,), 'int32')
        total = T.sblock_alloc_buffer((LANES,), 'int32')
        inverse = T.sblock_alloc_buffer((1,), 'float32')
        for v in T.vectorized(LANES):  # bits order as the numbers do, and NaN comes last
            largest[v] = T.max(T.reinterpret('int32', T.fabs(value[v])),
                               T.reinterpret('int32', T.fabs(value[LANES + v])))
        fold_max(largest, scratch)
        peak[0] = T.reinterpret('float32', scratch[0])
        q[a, b, SCALE] = T.reinterpret('int32', peak[0] * T.float32(1 / 127))
        inverse[0] = T.if_then_else(  # which a float32 can hold; less than that is nothing
            peak[0] > T.float32(1e-30), T.float32(127) / peak[0], T.float32(0))
        for h in T.unroll(GROUP // LANES):
            for v in T.vectorized(LANES):
                near[h * LANES + v] = T.cast(
                    T.nearbyint(value[h * LANES + v] * inverse[0]), 'int32')
            q[a, b, T.ramp(h * (LANES // 4), 1, LANES // 4)] = T.reinterpret(
                f'int32x{LANES // 4}',
                T.cast(near[T.ramp(h * LANES, 1, LANES)], f'int8x{LANES}'))
        for v in T.vectorized(LANES):
            total[v] = near[v] + near[LANES + v]
        fold(total)
        q[a, b, OFFSET] = -zero * total[0]


@lru_cache
def quantize_rows(k):
    """Return a PrimFunc: x (m, k) float32, q (m, k/32, 10) int32, for weights of 4 bits."""
    groups = k // GROUP

    @T.inline
    def row(r, x, q):
        for g in T.serial(groups):
            with T.sblock('group'):
                T.reads()
                T.writes()
                value = T.sblock_alloc_buffer((GROUP,), 'float32')
                for h in T.unroll(GROUP // LANES):
                    for v in T.vectorized(LANES):
                        value[h * LANES + v] = x[r, g * GROUP + h * LANES + v]
                quantize_group(value, ZERO, q, r, g)

    @T.prim_func(s_tir=True, private=True)
    def kernel(x_: T.handle, q_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        x = T.match_buffer(x_, (m, k), 'float32')
        q = T.match_buffer(q_, (m, groups, WORDS), 'int32')
        if m < PARALLEL:
            for r in T.serial(m):
                row(r, x, q)
        else:
            for r in T.parallel(m):
                row(r, x, q)

    return kernel


@lru_cache
def quantize_tiles(activation):
    """Return a PrimFunc: x (m, k) float32, q (ceil(m/4), ceil(k/32) * 4, 10) int32.

    For weights of 8 bits; it is act(x) that is quantised, for an `activation` of GATES. The
    groups of four rows are side by side, q[r // 4, g * 4 + r % 4]: all dimensions are arguments,
    and yet a product finds the rows of its tile at places that are known beforehand. k is a
    multiple of 16, and half a group has zeros behind it. Rows from m on repeat the last one.
    """
    gate = GATES[activation]

    @T.inline
    def activate(value, first):
        if gate is not None:
            with T.sblock('activate'):
                T.reads()
                T.writes()
                power = T.sblock_alloc_buffer((LANES,), 'float32')
                scratch = T.sblock_alloc_buffer((LANES,), 'float32')
                for v in T.vectorized(LANES):
                    power[v] = gate(value[first + v]) * T.float32(-LOG2E)
                exp2(power, scratch)
                for v in T.vectorized(LANES):
                    value[first + v] = value[first + v] / (T.float32(1) + power[v])

    @T.inline
    def group(halves, t, r, row, g, x, q):
        with T.sblock('group'):
            T.reads()
            T.writes()
            value = T.sblock_alloc_buffer((GROUP,), 'float32')
            for h in T.unroll(halves):
                for v in T.vectorized(LANES):
                    value[h * LANES + v] = x[row, g * GROUP + h * LANES + v]
                activate(value, h * LANES)
            for h in T.unroll(GROUP // LANES - halves):
                for v in T.vectorized(LANES):
                    value[(halves + h) * LANES + v] = T.float32(0)
            quantize_group(value, dot_int8.ZERO, q, t, g * TILE + r)

    @T.prim_func(s_tir=True)
    def kernel(x_: T.handle, q_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m, k, tiles, slots = T.int64(), T.int64(), T.int64(), T.int64()
        x = T.match_buffer(x_, (m, k), 'float32')
        q = T.match_buffer(q_, (tiles, slots, WORDS), 'int32')
        for t in T.parallel(tiles):
            for r in T.serial(TILE):
                for g in T.serial(k // GROUP):
                    group(2, t, r, T.min(t * TILE + r, m - 1), g, x, q)
                if k % GROUP > 0:
                    group(1, t, r, T.min(t * TILE + r, m - 1), k // GROUP, x, q)

    return kernel
