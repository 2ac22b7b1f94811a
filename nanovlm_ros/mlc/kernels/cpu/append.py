# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of keys and values into the pool that `kernels.cpu.attention` describes."""
from functools import lru_cache

from tvm.script import tirx as T

from nanovlm_ros.mlc.packing import LANES


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
