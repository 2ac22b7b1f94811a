# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every kernel against numpy in float64."""
import numpy as np
import plain
import pytest

tvm = pytest.importorskip('tvm', reason='kernels are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

import compiled  # noqa: E402
from compiled import normal  # noqa: E402

from nanovlm_ros.mlc.compile import host_target  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.append import append_rows  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.attention import attention  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.elementwise import (  # noqa: E402
    embedding, layer_norm, rms_norm, silu_mul)
from nanovlm_ros.mlc.kernels.cpu.linear import linear  # noqa: E402
from nanovlm_ros.mlc.packing import QUANTIZATIONS, round_trip  # noqa: E402

RANDOM = np.random.default_rng(0)


def build(kernel):
    return compiled.build(kernel, host_target())


@pytest.mark.parametrize('name', QUANTIZATIONS)
@pytest.mark.parametrize('accumulate', [False, True])
def test_linear_matches_numpy_for_every_row_count(name, accumulate):
    quantization = QUANTIZATIONS[name]
    n, k = 48, 96
    weight = normal(n, k)
    run = build(linear(n, k, quantization.weight, quantization.scale, accumulate))
    packed = plain.joined(plain.matrix(weight, quantization))
    for m in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31]:  # all mixes of tiles of 8, 4, 2 and 1
        x, before = normal(m, k), normal(m, n)
        expected = x.astype(np.float64) @ round_trip(weight, quantization).T
        expected += before if accumulate else 0
        np.testing.assert_allclose(run(x, *packed, before), expected, atol=2e-5)


@pytest.mark.parametrize('name', QUANTIZATIONS)
def test_embedding_takes_rows(name):
    quantization = QUANTIZATIONS[name]
    table, ids = normal(64, 96), np.array([3, 63, 0, 3], np.int32)
    run = build(embedding(64, 96, quantization.weight, quantization.scale))
    rows = run(ids, *plain.table(table, quantization).values(), normal(4, 96))
    np.testing.assert_allclose(rows, round_trip(table, quantization)[ids], rtol=1e-6)


@pytest.mark.parametrize('m', [5, 11])  # on one thread, on several
def test_rms_norm_matches_numpy(m):
    x, weight = normal(m, 96) * 3, normal(96)
    y = build(rms_norm(96, 1e-5))(x, weight, normal(m, 96))
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5) * weight
    np.testing.assert_allclose(y, expected, atol=5e-6)


@pytest.mark.parametrize('m', [5, 11])  # on one thread, on several
def test_layer_norm_matches_numpy_also_far_from_a_mean_of_zero(m):
    x, weight, bias = normal(m, 160) * 3 + 50, normal(160), normal(160)
    y = build(layer_norm(160, 1e-5))(x, weight, bias, normal(m, 160))
    exact = x.astype(np.float64)
    centred = exact - exact.mean(1, keepdims=True)
    expected = centred / np.sqrt((centred ** 2).mean(1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize('m', [5, 11])  # on one thread, on several
def test_silu_gate_matches_numpy_also_far_from_zero(m):
    x = normal(m, 192) * 40
    y = build(silu_mul(96))(x, normal(m, 96))
    gate, up = x[:, :96].astype(np.float64), x[:, 96:]
    np.testing.assert_allclose(y, gate / (1 + np.exp(-gate)) * up, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('q_heads, kv_heads, head_dim, rotary_dim', [
    (4, 4, 32, 32), (8, 2, 64, 64), (2, 2, 80, 20), (2, 1, 128, 128)])
def test_attention_matches_numpy_over_scattered_rows(q_heads, kv_heads, head_dim, rotary_dim):
    layers, slots, m = 2, 256, 6
    qkv = normal(m, (q_heads + 2 * kv_heads) * head_dim)
    pool = normal(layers, 2, slots, kv_heads, head_dim)
    table = RANDOM.permutation(slots)[:210].reshape(3, 70).astype(np.int32)  # no slot twice
    sequence = np.array([0, 0, 1, 2, 2, 2], np.int32)
    position = np.array([14, 15, 16, 67, 68, 69], np.int32)  # on both sides of a tile's edge
    block = np.array([[0, 2], [2, 1], [3, 3]], np.int32)
    slot = table[sequence, position]
    inverse = 10000.0 ** (-np.arange(0, rotary_dim, 2) / rotary_dim)
    angle = np.arange(128)[:, None] * inverse

    pool = build(_pool_last(append_rows(q_heads, kv_heads, head_dim, layers, 'float32')))(
        qkv, slot, pool)
    heads = qkv.reshape(m, -1, head_dim)
    np.testing.assert_array_equal(pool[1, 0, slot], heads[:, q_heads:q_heads + kv_heads])
    np.testing.assert_array_equal(pool[1, 1, slot], heads[:, q_heads + kv_heads:])

    rope = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    out = build(attention(q_heads, kv_heads, head_dim, rotary_dim, layers, 'float32'))(
        qkv, *rope, pool, table, sequence, position, block, 1,
        normal(m, q_heads * head_dim)).reshape(m, q_heads, head_dim)

    def rotate(x, at):
        half = rotary_dim // 2
        a, b, rest = x[..., :half], x[..., half:rotary_dim], x[..., rotary_dim:]
        cos, sin = np.cos(at * inverse), np.sin(at * inverse)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)

    for row in range(m):
        reach = np.arange(position[row] + 1)
        rows = table[sequence[row], reach]
        for head in range(q_heads):
            kv = head // (q_heads // kv_heads)
            keys = np.stack([rotate(pool[1, 0, s, kv].astype(np.float64), at)
                             for at, s in zip(reach, rows)])
            score = keys @ rotate(heads[row, head].astype(np.float64), position[row])
            weight = np.exp((score - score.max()) * head_dim ** -0.5)
            expected = weight / weight.sum() @ pool[1, 1, rows, kv]
            np.testing.assert_allclose(out[row, head], expected, atol=1e-5)


def _pool_last(kernel):
    """`append_rows` for layer 1, so that the pool is the last argument."""
    layer = kernel.params[-1]
    return kernel.specialize({layer: tvm.tirx.IntImm('int64', 1)})
