# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Embedding look-up, normalisations, SiLU gate."""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.vector import LOG2E, PARALLEL, exp2, fold
from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES, ZERO


@lru_cache
def embedding(vocab, k, weight_dtype, scale_dtype=''):
    """Return a PrimFunc: ids (m,) int32, table, [scale,] y (m, k) float32 = table[ids]."""
    if weight_dtype != 'int4':
        @T.prim_func(s_tir=True, private=True)
        def kernel(ids_: T.handle, table: T.Buffer((vocab, k), weight_dtype), y_: T.handle):
            T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
            m = T.int64()
            ids = T.match_buffer(ids_, (m,), 'int32')
            y = T.match_buffer(y_, (m, k), 'float32')
            for r in T.serial(m):
                for c in T.serial(k // LANES):
                    with T.sblock('embedding'):
                        T.reads()
                        T.writes()
                        for v in T.vectorized(LANES):
                            y[r, c * LANES + v] = T.cast(table[ids[r], c * LANES + v], 'float32')
    else:
        @T.prim_func(s_tir=True, private=True)
        def kernel(ids_: T.handle, table: T.Buffer((vocab, k // NIBBLES), 'int32'),
                   scale: T.Buffer((vocab, k // GROUP), scale_dtype), y_: T.handle):
            T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
            m = T.int64()
            ids = T.match_buffer(ids_, (m,), 'int32')
            y = T.match_buffer(y_, (m, k), 'float32')
            for r in T.serial(m):
                for c in T.serial(k // NIBBLES):
                    with T.sblock('embedding'):
                        T.reads()
                        T.writes()
                        for i in T.unroll(NIBBLES):
                            y[r, c * NIBBLES + i] = T.cast(
                                (T.shift_right(table[ids[r], c], 4 * i) & 15) - ZERO,
                                'float32') * T.cast(
                                    scale[ids[r], c * NIBBLES // GROUP], 'float32')

    return kernel


@lru_cache
def rms_norm(k, eps):
    """Return a PrimFunc: x (m, k), weight (k,), y (m, k). Zhang & Sennrich, arXiv:1910.07467."""
    @T.inline
    def row(r, x, weight, y):
        with T.sblock('rms_norm'):
            T.reads()
            T.writes()
            squares = T.sblock_alloc_buffer((LANES,), 'float32')
            inverse = T.sblock_alloc_buffer((1,), 'float32')
            for v in T.vectorized(LANES):
                squares[v] = T.float32(0)
            for c in T.serial(k // LANES):
                for v in T.vectorized(LANES):
                    squares[v] = T.fma(x[r, c * LANES + v], x[r, c * LANES + v], squares[v])
            fold(squares)
            inverse[0] = T.float32(1) / T.sqrt(squares[0] * T.float32(1 / k) + T.float32(eps))
            for c in T.serial(k // LANES):
                for v in T.vectorized(LANES):
                    y[r, c * LANES + v] = (
                        x[r, c * LANES + v] * inverse[0] * weight[c * LANES + v])

    @T.prim_func(s_tir=True, private=True)
    def kernel(x_: T.handle, weight: T.Buffer((k,), 'float32'), y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        x = T.match_buffer(x_, (m, k), 'float32')
        y = T.match_buffer(y_, (m, k), 'float32')
        if m < PARALLEL:
            for r in T.serial(m):
                row(r, x, weight, y)
        else:
            for r in T.parallel(m):
                row(r, x, weight, y)

    return kernel


@lru_cache
def layer_norm(k, eps):
    """Return a PrimFunc: x (m, k), weight (k,), bias (k,), y (m, k). Ba et al., arXiv:1607.06450.

    The mean goes first, then the deviation from it: a mean of squares would lose digits.
    """
    @T.inline
    def row(r, x, weight, bias, y):
        with T.sblock('layer_norm'):
            T.reads()
            T.writes()
            sums = T.sblock_alloc_buffer((LANES,), 'float32')
            mean = T.sblock_alloc_buffer((1,), 'float32')
            inverse = T.sblock_alloc_buffer((1,), 'float32')
            for v in T.vectorized(LANES):
                sums[v] = T.float32(0)
            for c in T.serial(k // LANES):
                for v in T.vectorized(LANES):
                    sums[v] = sums[v] + x[r, c * LANES + v]
            fold(sums)
            mean[0] = sums[0] * T.float32(1 / k)
            for v in T.vectorized(LANES):
                sums[v] = T.float32(0)
            for c in T.serial(k // LANES):
                for v in T.vectorized(LANES):
                    sums[v] = T.fma(x[r, c * LANES + v] - mean[0], x[r, c * LANES + v] - mean[0],
                                    sums[v])
            fold(sums)
            inverse[0] = T.float32(1) / T.sqrt(sums[0] * T.float32(1 / k) + T.float32(eps))
            for c in T.serial(k // LANES):
                for v in T.vectorized(LANES):
                    y[r, c * LANES + v] = T.fma((x[r, c * LANES + v] - mean[0]) * inverse[0],
                                                weight[c * LANES + v], bias[c * LANES + v])

    @T.prim_func(s_tir=True, private=True)
    def kernel(x_: T.handle, weight: T.Buffer((k,), 'float32'), bias: T.Buffer((k,), 'float32'),
               y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        x = T.match_buffer(x_, (m, k), 'float32')
        y = T.match_buffer(y_, (m, k), 'float32')
        if m < PARALLEL:
            for r in T.serial(m):
                row(r, x, weight, bias, y)
        else:
            for r in T.parallel(m):
                row(r, x, weight, bias, y)

    return kernel


@lru_cache
def silu_mul(k):
    """Return a PrimFunc: x (m, 2k) = [gate, up], y (m, k) = silu(gate) * up."""
    @T.inline
    def row(r, x, y):
        for c in T.serial(k // LANES):
            with T.sblock('silu_mul'):
                T.reads()
                T.writes()
                power = T.sblock_alloc_buffer((LANES,), 'float32')
                scratch = T.sblock_alloc_buffer((LANES,), 'float32')
                for v in T.vectorized(LANES):
                    power[v] = x[r, c * LANES + v] * T.float32(-LOG2E)
                exp2(power, scratch)
                for v in T.vectorized(LANES):
                    y[r, c * LANES + v] = (
                        x[r, c * LANES + v] / (T.float32(1) + power[v])
                        * x[r, k + c * LANES + v])

    @T.prim_func(s_tir=True, private=True)
    def kernel(x_: T.handle, y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        x = T.match_buffer(x_, (m, 2 * k), 'float32')
        y = T.match_buffer(y_, (m, k), 'float32')
        if m < PARALLEL:
            for r in T.serial(m):
                row(r, x, y)
        else:
            for r in T.parallel(m):
                row(r, x, y)

    return kernel
