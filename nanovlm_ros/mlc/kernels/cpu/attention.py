# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention over a pool of K/V rows that sequences reach through a table of slots.

A row of the pool belongs to no place in a sequence: K is stored before its
rotary embedding and is rotated, when it is read, by its index in the table. So
a sequence is a list of slots, and forking it, cutting it short or dropping rows
from its middle changes that list alone, exactly.

Shapes: qkv (m, (q_heads + 2 kv_heads) * head_dim); pool (layers, 2, slots,
kv_heads, head_dim), [.., 0, ..] = K and [.., 1, ..] = V; table (sequences,
length) int32; row m of the batch is at `position[m]` of `table[sequence[m]]`.
"""
from functools import lru_cache
from math import gcd

import numpy as np
from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.vector import (
    LINE, LOG2E, exp2, exp2_of, fold, fold_max, prefetch, transpose)
from nanovlm_ros.mlc.packing import BLOCK, LANES

QUERIES = 4  # that share a register of keys or values
STRIP = 5    # registers of values at once, at most: times QUERIES, they fit 32


def _lanes(count):
    """Widest vector that divides `count`; LLVM's code for 2 lanes does not verify."""
    width = gcd(LANES, count)
    return width if width >= 4 else 1


@lru_cache
def attention(q_heads, kv_heads, head_dim, rotary_dim, layers, dtype):
    """Return a PrimFunc: qkv, cos, sin, pool, table, sequence, position, block, layer, out.

    Causal softmax attention with an online softmax (Milakov & Gimelshein,
    arXiv:1805.02867) over tiles of 16 rows; cos and sin are (positions,
    rotary_dim / 2), for the half-split rotary embedding of Llama. block
    (blocks, 2) int32 cuts the batch into runs of at most `BLOCK` rows that
    follow each other in one sequence: first row of the batch, and how many.
    """
    group = q_heads // kv_heads
    heads = q_heads + 2 * kv_heads
    half = rotary_dim // 2
    rest = head_dim - rotary_dim  # dimensions that are not rotated
    width, rest_width = _lanes(half), _lanes(rest)
    scale = head_dim ** -0.5 * LOG2E  # softmax in powers of 2
    most = BLOCK * group  # queries that share the keys
    vectors = head_dim // LANES
    lines = max(1, head_dim * np.dtype(dtype).itemsize // LINE)
    strip = max(n for n in range(1, STRIP + 1) if vectors % n == 0)

    @T.inline
    def rotate(to, at, x, cos, sin, position, factor):
        """to[at:at + head_dim] = factor * rotary(x[0:head_dim], position)."""
        for j in T.serial(half // width):
            for v in T.vectorized(width):
                to[at + j * width + v] = factor * (
                    x[j * width + v] * cos[position, j * width + v]
                    - x[half + j * width + v] * sin[position, j * width + v])
            for v in T.vectorized(width):
                to[at + half + j * width + v] = factor * (
                    x[half + j * width + v] * cos[position, j * width + v]
                    + x[j * width + v] * sin[position, j * width + v])
        for j in T.serial(rest // rest_width):
            for v in T.vectorized(rest_width):
                to[at + rotary_dim + j * rest_width + v] = (
                    factor * x[rotary_dim + j * rest_width + v])

    @T.inline
    def fetch(slot, h, layer, pool):
        """Have a key and its value on their way: rows are too far apart for the processor."""
        for c in T.unroll(2):
            for d in T.unroll(lines):
                prefetch(pool[layer, c, slot, h, d * head_dim // lines])

    @T.inline
    def product_by_key(q, query, row, score):
        """Scores of a query with 16 keys that lie a row each."""
        with T.sblock('product_by_key'):
            T.reads()
            T.writes()
            lanes = T.sblock_alloc_buffer((LANES,), 'float32')
            for j in T.serial(LANES):
                for v in T.vectorized(LANES):
                    lanes[v] = T.float32(0)
                for d in T.unroll(vectors):
                    for v in T.vectorized(LANES):
                        lanes[v] = T.fma(query[q * head_dim + d * LANES + v],
                                         row[j * head_dim + d * LANES + v], lanes[v])
                fold(lanes)
                score[q * LANES + j] = lanes[0]

    @T.inline
    def product(count, chains, first, query, key, score):
        """Scores of `count` queries from `first` on, with 16 keys that lie a key a lane."""
        # `chains` sums for a query hide the latency of the multiply-add.
        with T.sblock('product'):
            T.reads()
            T.writes()
            part = T.sblock_alloc_buffer((count * chains, LANES), 'float32')
            for q in T.unroll(count * chains):
                for v in T.vectorized(LANES):
                    part[q, v] = T.float32(0)
            for d in T.serial(head_dim // chains):
                for c in T.unroll(chains):
                    for q in T.unroll(count):
                        for v in T.vectorized(LANES):
                            part[q * chains + c, v] = T.fma(
                                key[(d * chains + c) * LANES + v],
                                query[(first + q) * head_dim + d * chains + c],
                                part[q * chains + c, v])
            for q in T.unroll(count):
                for c in T.unroll(chains - 1):
                    for v in T.vectorized(LANES):
                        part[q * chains, v] = part[q * chains, v] + part[q * chains + c + 1, v]
                for v in T.vectorized(LANES):
                    score[(first + q) * LANES + v] = part[q * chains, v]

    @T.inline
    def soften(q, seen, score, peak, before, sums):
        """Scores of a query to weights, by the largest so far; the others are worth less then."""
        with T.sblock('soften'):
            T.reads()
            T.writes()
            lanes = T.sblock_alloc_buffer((LANES,), 'float32')
            scratch = T.sblock_alloc_buffer((LANES,), 'float32')
            shrink = T.sblock_alloc_buffer((1,), 'float32')
            # What lies past the row's own place weighs nothing, whatever is there.
            for v in T.vectorized(LANES):
                lanes[v] = T.Select(v < seen, score[q * LANES + v], T.float32(-1e30))
            fold_max(lanes, scratch)
            before[q] = peak[q] - T.max(scratch[0], peak[q])
            peak[q] = T.max(scratch[0], peak[q])
            for v in T.vectorized(LANES):
                lanes[v] = lanes[v] - peak[q]
            exp2(lanes, scratch)
            for v in T.vectorized(LANES):  # exp2 stops at 2**-126
                lanes[v] = T.Select(v < seen, lanes[v], T.float32(0))
            shrink[0] = exp2_of(before[q])
            before[q] = shrink[0]
            for v in T.vectorized(LANES):
                sums[q * LANES + v] = T.fma(sums[q * LANES + v], shrink[0], lanes[v])
            for v in T.vectorized(LANES):
                score[q * LANES + v] = lanes[v]

    @T.inline
    def weigh(count, first, score, value, before, total):
        """total = total * before + weights V, for `count` queries from `first` on."""
        for s in T.serial(vectors // strip):
            with T.sblock('weigh'):
                T.reads()
                T.writes()
                part = T.sblock_alloc_buffer((count * strip, LANES), 'float32')
                for q in T.unroll(count):
                    for d in T.unroll(strip):
                        for v in T.vectorized(LANES):
                            part[q * strip + d, v] = total[
                                (first + q) * head_dim + (s * strip + d) * LANES + v] * before[
                                    first + q]
                for j in T.serial(LANES):
                    for d in T.unroll(strip):
                        for q in T.unroll(count):
                            for v in T.vectorized(LANES):
                                part[q * strip + d, v] = T.fma(
                                    value[j * head_dim + (s * strip + d) * LANES + v],
                                    score[(first + q) * LANES + j], part[q * strip + d, v])
                for q in T.unroll(count):
                    for d in T.unroll(strip):
                        for v in T.vectorized(LANES):
                            total[(first + q) * head_dim + (s * strip + d) * LANES + v] = part[
                                q * strip + d, v]

    @T.prim_func(s_tir=True, private=True)
    def kernel(qkv_: T.handle, cos_: T.handle, sin_: T.handle, pool_: T.handle, table_: T.handle,
               sequence_: T.handle, position_: T.handle, block_: T.handle, layer: T.int64,
               out_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        blocks = T.int64()
        positions = T.int64()
        slots = T.int64()
        sequences = T.int64()
        length = T.int64()
        qkv = T.match_buffer(qkv_, (m, heads * head_dim), 'float32')
        cos = T.match_buffer(cos_, (positions, half), 'float32')
        sin = T.match_buffer(sin_, (positions, half), 'float32')
        pool = T.match_buffer(pool_, (layers, 2, slots, kv_heads, head_dim), dtype)
        table = T.match_buffer(table_, (sequences, length), 'int32')
        sequence = T.match_buffer(sequence_, (m,), 'int32')
        position = T.match_buffer(position_, (m,), 'int32')
        block = T.match_buffer(block_, (blocks, 2), 'int32')
        out = T.match_buffer(out_, (m, q_heads * head_dim), 'float32')
        for work in T.parallel(kv_heads * blocks):
            with T.sblock('attention'):
                T.reads()
                T.writes()
                raw = T.sblock_alloc_buffer((head_dim,), 'float32')
                row = T.sblock_alloc_buffer((LANES * head_dim,), 'float32')
                key = T.sblock_alloc_buffer((head_dim * LANES,), 'float32')
                value = T.sblock_alloc_buffer((LANES * head_dim,), 'float32')
                query = T.sblock_alloc_buffer((most * head_dim,), 'float32')
                total = T.sblock_alloc_buffer((most * head_dim,), 'float32')
                score = T.sblock_alloc_buffer((most * LANES,), 'float32')
                sums = T.sblock_alloc_buffer((most * LANES,), 'float32')
                peak = T.sblock_alloc_buffer((most,), 'float32')
                before = T.sblock_alloc_buffer((most,), 'float32')
                lanes = T.sblock_alloc_buffer((LANES,), 'float32')
                # Threads get runs of `work`: later blocks see more rows, so that they go
                # from both ends.
                h: T.let[T.int64] = work // blocks
                at: T.let[T.int64] = work % blocks
                b: T.let[T.int64] = T.if_then_else(at % 2 == 0, at // 2, blocks - 1 - at // 2)
                first: T.let[T.int64] = T.cast(block[b, 0], 'int64')
                rows: T.let[T.int64] = T.cast(block[b, 1], 'int64')
                last: T.let[T.int64] = T.cast(position[first], 'int64') + rows - 1
                # 1. The queries of these rows and this group of heads, rotated and scaled.
                for i in T.serial(rows):
                    for g in T.serial(group):
                        for d in T.serial(vectors):
                            for v in T.vectorized(LANES):
                                raw[d * LANES + v] = qkv[
                                    first + i, (h * group + g) * head_dim + d * LANES + v]
                        rotate(query, (i * group + g) * head_dim, raw, cos, sin,
                               last - rows + 1 + i, T.float32(scale))
                        for d in T.serial(vectors):
                            for v in T.vectorized(LANES):
                                total[(i * group + g) * head_dim + d * LANES + v] = T.float32(0)
                        for v in T.vectorized(LANES):
                            sums[(i * group + g) * LANES + v] = T.float32(0)
                        peak[i * group + g] = T.float32(-1e30)
                for tile in T.serial(last // LANES + 1):
                    # 2. Sixteen keys and values, once for all rows of the block.
                    for j in T.serial(LANES):
                        fetch(table[sequence[first], T.min((tile + 1) * LANES + j, last)],
                              h, layer, pool)
                        if tile * LANES + j <= last:
                            slot: T.let[T.int32] = table[sequence[first], tile * LANES + j]
                            for d in T.serial(vectors):
                                for v in T.vectorized(LANES):
                                    raw[d * LANES + v] = T.cast(
                                        pool[layer, 0, slot, h, d * LANES + v], 'float32')
                            rotate(row, j * head_dim, raw, cos, sin, tile * LANES + j,
                                   T.float32(1))
                            for d in T.serial(vectors):
                                for v in T.vectorized(LANES):
                                    value[j * head_dim + d * LANES + v] = T.cast(
                                        pool[layer, 1, slot, h, d * LANES + v], 'float32')
                        else:
                            for d in T.serial(vectors):
                                for v in T.vectorized(LANES):
                                    value[j * head_dim + d * LANES + v] = T.float32(0)
                    # 3. Scores, weights, and the weighted sum of the values.
                    if rows * group < QUERIES:
                        for q in T.serial(rows * group):
                            product_by_key(q, query, row, score)
                    else:
                        for d in T.serial(vectors):
                            transpose(key, d * LANES * LANES, row, d * LANES, head_dim)
                        for q in T.serial(rows * group // QUERIES):
                            product(QUERIES, 2, q * QUERIES, query, key, score)
                        for q in T.serial(rows * group % QUERIES):
                            product(1, 4, rows * group // QUERIES * QUERIES + q, query, key, score)
                    for q in T.serial(rows * group):
                        soften(q, T.cast(last - rows + 2 + q // group - tile * LANES, 'int32'),
                               score, peak, before, sums)
                    for q in T.serial(rows * group // QUERIES):
                        weigh(QUERIES, q * QUERIES, score, value, before, total)
                    for q in T.serial(rows * group % QUERIES):
                        weigh(1, rows * group // QUERIES * QUERIES + q, score, value, before, total)
                for i in T.serial(rows):
                    for g in T.serial(group):
                        for v in T.vectorized(LANES):
                            lanes[v] = sums[(i * group + g) * LANES + v]
                        fold(lanes)
                        for d in T.serial(vectors):
                            for v in T.vectorized(LANES):
                                out[first + i, (h * group + g) * head_dim + d * LANES + v] = (
                                    total[(i * group + g) * head_dim + d * LANES + v] / lanes[0])

    return kernel
