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

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.vector import exp2, fold, fold_max
from nanovlm_ros.mlc.packing import BLOCK, LANES

LOG2E = 1.4426950408889634


def _lanes(count):
    """Widest vector that divides `count`; LLVM's code for 2 lanes does not verify."""
    width = gcd(LANES, count)
    return width if width >= 4 else 1


@lru_cache
def append_rows(q_heads, kv_heads, head_dim, layers, dtype):
    """Return a PrimFunc: qkv, slot (m,) int32, pool (written), layer: store m rows of K and V."""
    heads = q_heads + 2 * kv_heads

    @T.prim_func(s_tir=True, private=True)
    def kernel(qkv_: T.handle, slot_: T.handle, pool_: T.handle, layer: T.int64):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        m = T.int64()
        slots = T.int64()
        qkv = T.match_buffer(qkv_, (m, heads * head_dim), 'float32')
        slot = T.match_buffer(slot_, (m,), 'int32')
        pool = T.match_buffer(pool_, (layers, 2, slots, kv_heads, head_dim), dtype)
        for r in T.serial(m):
            for c in T.unroll(2):
                for h in T.serial(kv_heads):
                    for d in T.serial(head_dim // LANES):
                        with T.sblock('append_rows'):
                            T.reads()
                            T.writes()
                            for v in T.vectorized(LANES):
                                pool[layer, c, slot[r], h, d * LANES + v] = T.cast(
                                    qkv[r, (q_heads + c * kv_heads + h) * head_dim
                                        + d * LANES + v], dtype)

    return kernel


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
        for work in T.parallel(blocks * kv_heads):
            with T.sblock('attention'):
                T.reads()
                T.writes()
                raw = T.sblock_alloc_buffer((head_dim,), 'float32')
                key = T.sblock_alloc_buffer((LANES * head_dim,), 'float32')
                query = T.sblock_alloc_buffer((BLOCK * group * head_dim,), 'float32')
                total = T.sblock_alloc_buffer((BLOCK * group * head_dim,), 'float32')
                score = T.sblock_alloc_buffer((LANES,), 'float32')
                weights = T.sblock_alloc_buffer((LANES,), 'float32')
                lanes = T.sblock_alloc_buffer((LANES,), 'float32')
                slot = T.sblock_alloc_buffer((LANES,), 'int32')
                peak = T.sblock_alloc_buffer((BLOCK * group,), 'float32')
                denominator = T.sblock_alloc_buffer((BLOCK * group,), 'float32')
                shrink = T.sblock_alloc_buffer((1,), 'float32')
                first: T.let[T.int64] = T.cast(block[work // kv_heads, 0], 'int64')
                rows: T.let[T.int64] = T.cast(block[work // kv_heads, 1], 'int64')
                h: T.let[T.int64] = work % kv_heads
                last: T.let[T.int64] = T.cast(position[first], 'int64') + rows - 1
                # 1. The queries of these rows and this group of heads, rotated and scaled.
                for i in T.serial(rows):
                    for g in T.serial(group):
                        for d in T.serial(head_dim // LANES):
                            for v in T.vectorized(LANES):
                                raw[d * LANES + v] = qkv[
                                    first + i, (h * group + g) * head_dim + d * LANES + v]
                        rotate(query, (i * group + g) * head_dim, raw, cos, sin,
                               last - rows + 1 + i, T.float32(scale))
                        for d in T.serial(head_dim // LANES):
                            for v in T.vectorized(LANES):
                                total[(i * group + g) * head_dim + d * LANES + v] = T.float32(0)
                        peak[i * group + g] = T.float32(-1e30)
                        denominator[i * group + g] = T.float32(0)
                for tile in T.serial(last // LANES + 1):
                    # 2. Sixteen keys, rotated once for all rows of the block.
                    for j in T.serial(T.min(T.int64(LANES), last + 1 - tile * LANES)):
                        slot[j] = table[sequence[first], tile * LANES + j]
                        for d in T.serial(head_dim // LANES):
                            for v in T.vectorized(LANES):
                                raw[d * LANES + v] = T.cast(
                                    pool[layer, 0, slot[j], h, d * LANES + v], 'float32')
                        rotate(key, j * head_dim, raw, cos, sin, tile * LANES + j, T.float32(1))
                    for q in T.serial(rows * group):
                        # 3. Scores; what lies past the row's own place weighs nothing.
                        seen: T.let[T.int64] = T.min(
                            T.int64(LANES), last - rows + 2 + q // group - tile * LANES)
                        for v in T.vectorized(LANES):
                            weights[v] = T.float32(-1e30)
                        for j in T.serial(seen):
                            for v in T.vectorized(LANES):
                                lanes[v] = T.float32(0)
                            for d in T.serial(head_dim // LANES):
                                for v in T.vectorized(LANES):
                                    lanes[v] = T.fma(
                                        query[q * head_dim + d * LANES + v],
                                        key[j * head_dim + d * LANES + v], lanes[v])
                            fold(lanes)
                            weights[j] = lanes[0]
                        # 4. Online softmax: rescale what was summed to the new maximum.
                        for v in T.vectorized(LANES):
                            score[v] = weights[v]
                        fold_max(score, lanes)
                        lanes[0] = T.max(lanes[0], peak[q])
                        shrink[0] = T.exp2(peak[q] - lanes[0])
                        peak[q] = lanes[0]
                        for v in T.vectorized(LANES):
                            score[v] = score[v] - peak[q]
                        exp2(score, lanes)
                        for v in T.vectorized(LANES):
                            # exp2 stops at 2**-126: a masked row must weigh exactly nothing
                            score[v] = T.if_then_else(
                                weights[v] > T.float32(-1e29), score[v], T.float32(0))
                        for v in T.vectorized(LANES):
                            weights[v] = score[v]
                        fold(score)
                        denominator[q] = denominator[q] * shrink[0] + score[0]
                        for d in T.serial(head_dim // LANES):
                            for v in T.vectorized(LANES):
                                total[q * head_dim + d * LANES + v] = (
                                    total[q * head_dim + d * LANES + v] * shrink[0])
                        # 5. The weighted sum of V.
                        for j in T.serial(seen):
                            for d in T.serial(head_dim // LANES):
                                for v in T.vectorized(LANES):
                                    total[q * head_dim + d * LANES + v] = T.fma(
                                        weights[j],
                                        T.cast(pool[layer, 1, slot[j], h, d * LANES + v],
                                               'float32'),
                                        total[q * head_dim + d * LANES + v])
                for i in T.serial(rows):
                    for g in T.serial(group):
                        for d in T.serial(head_dim // LANES):
                            for v in T.vectorized(LANES):
                                out[first + i, (h * group + g) * head_dim + d * LANES + v] = (
                                    total[(i * group + g) * head_dim + d * LANES + v]
                                    / denominator[i * group + g])

    return kernel
