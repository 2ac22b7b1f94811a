# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention of vision, every patch to every other, with q, k, v and weights in int8 groups of 32.

Both products are those of `kernels.cpu.linear_tiles`, in which the keys and the transposed
values are the matrices: `pack_keys` lays them out, `attend` reads them. All dimensions are
arguments; those of a head are a multiple of 8. Scores of four rows stay in the processor's
cache, float32 between the products.
"""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu import dot_int8
from nanovlm_ros.mlc.kernels.cpu.linear_tiles import STRIPS, product
from nanovlm_ros.mlc.kernels.cpu.names import EIGHT
from nanovlm_ros.mlc.kernels.cpu.quantize import FOURS, SCALE, quantize_group
from nanovlm_ros.mlc.kernels.cpu.vector import LOG2E, exp2, fold_max, half
from nanovlm_ros.mlc.packing import GROUP, LANES, TILE, WORDS

TINY = 1e-30        # a float32 that has an inverse
Q, K, V = range(3)  # places in qkv


@T.inline
def load_group(value, qkv, row, part, head, g, d, factor):
    """value[0:32] = dimensions of a head in group g, times `factor`, with zeros behind them."""
    for v in T.vectorized(GROUP):
        value[v] = T.float32(0)
    for e in T.serial(T.min(T.int64(GROUP // EIGHT), (d - g * GROUP) // EIGHT)):
        for v in T.vectorized(EIGHT):
            value[e * EIGHT + v] = qkv[row, part, head, g * GROUP + e * EIGHT + v] * factor


@T.inline
def pack_key(row, head, block, g, lane, d, qkv, key, key_scale):
    """Group g of a key becomes lane `lane` of a block of 16."""
    with T.sblock('key'):
        T.reads()
        T.writes()
        value = T.sblock_alloc_buffer((GROUP,), 'float32')
        words = T.sblock_alloc_buffer((1, 1, WORDS), 'int32')
        load_group(value, qkv, row, K, head, g, d, T.float32(1))
        quantize_group(value, dot_int8.ZERO, words, 0, 0)
        for c in T.unroll(FOURS):
            key[block, g, c, lane] = words[0, 0, c]
        key_scale[block, g, lane] = T.reinterpret('float32', words[0, 0, SCALE])


@T.inline
def pack_values(first, last, head, block, g, lane, dimension, qkv, value, value_scale):
    """Eight dimensions of 32 values from row `first` on become eight lanes, from `lane` on."""
    with T.sblock('values'):
        T.reads()
        T.writes()
        peak = T.sblock_alloc_buffer((EIGHT,), 'float32')
        word = T.sblock_alloc_buffer((EIGHT,), 'int32')
        for v in T.vectorized(EIGHT):
            peak[v] = T.float32(TINY)
        for i in T.serial(GROUP):
            for v in T.vectorized(EIGHT):
                peak[v] = T.reinterpret('float32', T.max(
                    T.reinterpret('int32', peak[v]), T.reinterpret('int32', T.fabs(
                        qkv[T.min(first + i, last), V, head, dimension + v]))))
        for v in T.vectorized(EIGHT):
            value_scale[block, g, lane + v] = peak[v] * T.float32(1 / 127)
        for v in T.vectorized(EIGHT):
            peak[v] = T.float32(127) / peak[v]
        for c in T.serial(FOURS):
            for v in T.vectorized(EIGHT):
                word[v] = 0
            for i in T.unroll(4):
                for v in T.vectorized(EIGHT):
                    word[v] = word[v] | T.shift_left(T.cast(T.nearbyint(
                        qkv[T.min(first + c * 4 + i, last), V, head, dimension + v] * peak[v]),
                        'int32') & 255, 8 * i)
            for v in T.vectorized(EIGHT):
                value[block, g, c, lane + v] = word[v]


@lru_cache
def pack_keys():
    """Return a PrimFunc over qkv (images * m, 3, heads, d) float32, m, and what it makes.

    Keys int32 (images * heads * ceil(m/32) * 2, ceil(d/32), 8, 16) and values (images * heads *
    ceil(d/16), ceil(m/32), 8, 16), each with a float32 scale of (.., .., 16). Rows from m on
    repeat the last one, and dimensions of values from d on are not written.
    """
    @T.prim_func(s_tir=True)
    def kernel(qkv_: T.handle, m: T.int64, key_: T.handle, key_scale_: T.handle,
               value_: T.handle, value_scale_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        rows, heads, d = T.int64(), T.int64(), T.int64()
        blocks, groups, value_blocks, value_groups = T.int64(), T.int64(), T.int64(), T.int64()
        qkv = T.match_buffer(qkv_, (rows, 3, heads, d), 'float32')
        key = T.match_buffer(key_, (blocks, groups, FOURS, LANES), 'int32')
        key_scale = T.match_buffer(key_scale_, (blocks, groups, LANES), 'float32')
        value = T.match_buffer(value_, (value_blocks, value_groups, FOURS, LANES), 'int32')
        value_scale = T.match_buffer(value_scale_, (value_blocks, value_groups, LANES), 'float32')
        pairs: T.let = rows // m * heads
        for task in T.parallel(pairs * value_groups):
            pair: T.let = task // value_groups
            start: T.let = pair // heads * m
            first: T.let = task % value_groups * GROUP
            for i in T.serial(T.int64(GROUP)):
                for g in T.serial(groups):
                    pack_key(start + T.min(first + i, m - 1), pair % heads,
                             task * (GROUP // LANES) + i // LANES, g, i % LANES, d, qkv, key,
                             key_scale)
            for e in T.serial(d // EIGHT):
                pack_values(start + first, start + m - 1, pair % heads,
                            pair * (value_blocks // pairs) + e * EIGHT // LANES,
                            task % value_groups, e * EIGHT % LANES, e * EIGHT, qkv, value,
                            value_scale)

    return kernel


@lru_cache
def attend(dot):
    """Return a PrimFunc over qkv, m, what `pack_keys` made, scratch, and y (images * m, heads, d).

    `score` (workers, ceil(m/32) * 32, 4) float32, `query` (workers, ceil(d/32) * 4, 10) and
    `weight` (workers, ceil(m/32) * 4, 10) int32 are scratch, for as many threads as there are
    workers.
    """
    width, add = dot.width, product(dot)

    @T.inline
    def scores(worker, pair, keys, groups, query, key, key_scale, score):
        """score = q K^T of a tile, by rows."""
        for unit in T.serial(keys // (STRIPS * width)):
            with T.sblock('scores'):
                T.reads()
                T.writes()
                total = T.sblock_alloc_buffer((TILE * STRIPS, width), 'float32')
                for i in T.unroll(TILE * STRIPS):
                    for v in T.vectorized(width):
                        total[i, v] = T.float32(0)
                add(STRIPS, query, worker, key, key_scale,
                    pair * keys + unit * (STRIPS * width), groups, total)
                for r in T.unroll(TILE):
                    for s in T.unroll(STRIPS):
                        for v in T.vectorized(width):
                            score[worker, r, unit * (STRIPS * width) + s * width + v] = total[
                                r * STRIPS + s, v]

    @T.inline
    def softmax(worker, r, m, keys, score, weight, norm):
        """weight = 2 ** (score - its maximum), quantised, and norm[r] = 1 / its sum."""
        with T.sblock('softmax'):
            T.reads()
            T.writes()
            peak = T.sblock_alloc_buffer((LANES,), 'float32')
            total = T.sblock_alloc_buffer((LANES,), 'float32')
            most = T.sblock_alloc_buffer((1,), 'float32')
            odd = T.sblock_alloc_buffer((LANES,), 'int32')
            scratch_odd = T.sblock_alloc_buffer((LANES,), 'int32')
            for v in T.vectorized(LANES):
                odd[v] = T.reinterpret('int32', T.fabs(score[worker, r, v]))
            for v in T.vectorized(LANES):
                peak[v] = score[worker, r, v]
                total[v] = T.float32(0)
            for i in T.serial(1, keys // LANES):  # those from m on are the last key again
                for v in T.vectorized(LANES):
                    peak[v] = T.max(peak[v], score[worker, r, i * LANES + v])
                for v in T.vectorized(LANES):
                    odd[v] = T.max(odd[v], T.reinterpret(
                        'int32', T.fabs(score[worker, r, i * LANES + v])))
            fold_max(odd, scratch_odd)
            most[0] = peak[0]
            for v in T.unroll(1, LANES):
                most[0] = T.max(most[0], peak[v])
            for g in T.serial(keys // GROUP):
                with T.sblock('weights'):
                    T.reads()
                    T.writes()
                    value = T.sblock_alloc_buffer((GROUP,), 'float32')
                    power = T.sblock_alloc_buffer((LANES,), 'float32')
                    scratch = T.sblock_alloc_buffer((LANES,), 'float32')
                    for h in T.unroll(GROUP // LANES):
                        for v in T.vectorized(LANES):
                            power[v] = score[worker, r, g * GROUP + h * LANES + v] - most[0]
                        exp2(power, scratch)
                        for v in T.vectorized(LANES):
                            value[h * LANES + v] = T.if_then_else(
                                g * GROUP + h * LANES + v < m, power[v], T.float32(0))
                        for v in T.vectorized(LANES):
                            total[v] = total[v] + value[h * LANES + v]
                    quantize_group(value, dot_int8.ZERO, weight, worker, g * TILE + r)
            most[0] = total[0]
            for v in T.unroll(1, LANES):
                most[0] = most[0] + total[v]
            norm[r] = T.if_then_else(
                scratch_odd[0] >= 0x7F800000, T.reinterpret('float32', T.int32(0x7FC00000)),
                T.float32(1) / most[0])

    @T.inline
    def store(strips, worker, row, end, head, first, place, groups, d, weight, value,
              value_scale, norm, y):
        """y = weights V / their sum, for `strips` registers of dimensions from `first` on."""
        with T.sblock('store'):
            T.reads()
            T.writes()
            total = T.sblock_alloc_buffer((TILE * strips, width), 'float32')
            whole = T.sblock_alloc_buffer((LANES,), 'float32')
            for i in T.unroll(TILE * strips):
                for v in T.vectorized(width):
                    total[i, v] = T.float32(0)
            add(strips, weight, worker, value, value_scale, place + first, groups, total)
            for r in T.unroll(TILE):
                if row + r < end:
                    for s in T.unroll(strips):
                        if first + s * width + width <= d:
                            for v in T.vectorized(width):
                                y[row + r, head, first + s * width + v] = (
                                    total[r * strips + s, v] * norm[r])
                        else:
                            if width == LANES:
                                if first + s * width < d:
                                    for v in T.vectorized(LANES):
                                        whole[v] = total[r * strips + s, v] * norm[r]
                                    y[row + r, head, T.ramp(first + s * width, 1, EIGHT)] = half(
                                        whole, LANES, 0)

    @T.prim_func(s_tir=True)
    def kernel(qkv_: T.handle, m: T.int64, key_: T.handle, key_scale_: T.handle,
               value_: T.handle, value_scale_: T.handle, score_: T.handle, query_: T.handle,
               weight_: T.handle, y_: T.handle):
        T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
        rows, heads, d = T.int64(), T.int64(), T.int64()
        blocks, groups, value_blocks, value_groups = T.int64(), T.int64(), T.int64(), T.int64()
        workers, keys, query_slots, slots = T.int64(), T.int64(), T.int64(), T.int64()
        qkv = T.match_buffer(qkv_, (rows, 3, heads, d), 'float32')
        key = T.match_buffer(key_, (blocks, groups, FOURS, LANES), 'int32')
        key_scale = T.match_buffer(key_scale_, (blocks, groups, LANES), 'float32')
        value = T.match_buffer(value_, (value_blocks, value_groups, FOURS, LANES), 'int32')
        value_scale = T.match_buffer(value_scale_, (value_blocks, value_groups, LANES), 'float32')
        score = T.match_buffer(score_, (workers, TILE, keys), 'float32')
        query = T.match_buffer(query_, (workers, query_slots, WORDS), 'int32')
        weight = T.match_buffer(weight_, (workers, slots, WORDS), 'int32')
        y = T.match_buffer(y_, (rows, heads, d), 'float32')
        tiles: T.let = (m + TILE - 1) // TILE
        pairs: T.let = rows // m * heads
        dimensions: T.let = value_blocks // pairs * LANES
        share: T.let = (pairs * tiles + workers - 1) // workers
        for worker in T.parallel(workers):
            for i in T.serial(T.min(share, pairs * tiles - worker * share)):
                task: T.let = worker * share + i
                pair: T.let = task // tiles
                start: T.let = pair // heads * m
                row: T.let = start + task % tiles * TILE
                with T.sblock('rows'):
                    T.reads()
                    T.writes()
                    each = T.sblock_alloc_buffer((GROUP,), 'float32')
                    norm = T.sblock_alloc_buffer((TILE,), 'float32')
                    for r in T.serial(T.int64(TILE)):
                        for g in T.serial(groups):
                            load_group(each, qkv, T.min(row + r, start + m - 1), Q, pair % heads,
                                       g, d, T.float32(LOG2E) / T.sqrt(T.cast(d, 'float32')))
                            quantize_group(each, dot_int8.ZERO, query, worker, g * TILE + r)
                    scores(worker, pair, keys, groups, query, key, key_scale, score)
                    for r in T.serial(T.int64(TILE)):
                        softmax(worker, r, m, keys, score, weight, norm)
                    for unit in T.serial((dimensions + STRIPS * width - 1) // (STRIPS * width)):
                        if unit * (STRIPS * width) + STRIPS * width <= dimensions:
                            store(STRIPS, worker, row, start + m, pair % heads,
                                  unit * (STRIPS * width), pair * (dimensions // LANES) * LANES,
                                  value_groups, d, weight, value, value_scale, norm, y)
                        else:
                            store(1, worker, row, start + m, pair % heads,
                                  unit * (STRIPS * width), pair * (dimensions // LANES) * LANES,
                                  value_groups, d, weight, value, value_scale, norm, y)

    return kernel
