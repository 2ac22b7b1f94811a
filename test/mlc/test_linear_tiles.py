# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The products of vision in int8, for every instruction set, against numpy."""
import numpy as np
import pytest

tvm = pytest.importorskip('tvm', reason='kernels are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

from compiled import build, compile_kernel, normal  # noqa: E402
from instructions import CHOSEN, runs_here  # noqa: E402

from nanovlm_ros.mlc.compile import host_target  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu import dot_int8 as dots  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.linear_tiles import CHUNK, linear_tiles  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.names import FUSED  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.quantize import GATES, quantize_tiles  # noqa: E402
from nanovlm_ros.mlc.packing import TILE  # noqa: E402

ROWS = [1, 4, 5, CHUNK * TILE + 3]      # part of a tile, a whole one, more than a chunk of them
OUTPUTS, INPUTS = [16, 32, 80], [32, 80]  # an odd strip, half a group
RANDOM = np.random.default_rng(1)
SIGMOID_OF = {
    '': lambda x: np.inf, 'quick_gelu': lambda x: 1.702 * x,
    'gelu_pytorch_tanh': lambda x: 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)}


def groups_of(k):
    return -(-k // 32)


def quantized(x):
    """Return what `quantize_tiles` should, row by row: (m, groups, 32) int8, (m, groups) scale."""
    groups = np.zeros((len(x), groups_of(x.shape[1]) * 32), np.float32)
    groups[:, :x.shape[1]] = x
    groups = groups.reshape(len(x), -1, 32)
    largest = np.abs(groups).max(-1)
    inverse = np.float32(127) / np.maximum(largest, np.float32(1e-30))
    return (np.rint(groups * inverse[..., None]).astype(np.int8),
            largest * np.float32(1 / 127))


def tiles(codes, scale):
    """Lay out what `quantized` returns as a product takes it; the last row fills its tile."""
    m, groups, _ = codes.shape
    words = np.empty((-(-m // TILE) * TILE, groups, 10), np.int32)
    words[:m, :, :8] = codes.view(np.int32)
    words[:m, :, 8] = scale.view(np.int32)
    words[:m, :, 9] = -128 * codes.sum(-1, dtype=np.int32)
    words[m:] = words[m - 1]
    return words.reshape(-1, TILE, groups, 10).transpose(0, 2, 1, 3).reshape(
        len(words) // TILE, groups * TILE, 10)


def words_of(q):
    """(n, k) int8 -> (n / 16, k / 32, 8, 16) int32."""
    n, k = q.shape
    return q.view(np.int32).reshape(n // 16, 16, k // 32, 8).transpose(0, 2, 3, 1)


@pytest.mark.parametrize('activation', FUSED)
def test_rows_are_rounded_in_groups_of_32_after_the_activation(activation):
    assert set(GATES) == set(FUSED)
    run = build(quantize_tiles(activation), host_target())
    for m in ROWS:
        for k in (16, 32, 80):
            x = 3 * normal(m, k)
            x[m // 2, :16] = [0] * 4 + [-90, 90, -20, 20] * 3  # nothing, and what saturates
            got = run(x, np.full((-(-m // TILE), groups_of(k) * TILE, 10), 99, np.int32))
            with np.errstate(over='ignore'):
                acted = x / (1 + np.exp(-SIGMOID_OF[activation](x.astype(np.float64))))
            codes, scale = quantized(acted.astype(np.float32))
            want = tiles(codes, scale)
            if activation == '':
                np.testing.assert_array_equal(got, want)
            said, meant = (np.ascontiguousarray(t[..., :8]).view(np.int8) for t in (got, want))
            assert np.abs(said.astype(int) - meant).max() <= 1  # where the last bit decides
            assert (said != meant).mean() < 1e-3
            np.testing.assert_allclose(*(np.ascontiguousarray(t[..., 8]).view(np.float32)
                                         for t in (got, want)), rtol=1e-6)
            np.testing.assert_array_equal(got[..., 9], -128 * said.reshape(
                *got.shape[:2], 32).sum(-1, dtype=np.int32))


def test_a_number_that_is_not_finite_makes_no_finite_product():
    quantize = build(quantize_tiles('gelu_pytorch_tanh'), host_target())
    multiply = build(linear_tiles(dots.best(host_target())), host_target())
    weight = words_of(RANDOM.integers(1, 127, (16, 32)).astype(np.int8))
    for odd in (np.nan, np.inf):
        x = normal(3, 32)
        x[1, 20] = odd
        y = multiply(quantize(x, np.empty((1, TILE, 10), np.int32)), weight,
                     np.ones((1, 1, 16), np.float16), normal(16), normal(3, 16))
        assert np.isfinite(y[[0, 2]]).all() and not np.isfinite(y[1]).any()


@pytest.mark.parametrize('dot', dots.BEST_FIRST, ids=lambda dot: dot.instructions.name)
def test_every_instruction_set_gives_the_same_product(dot):
    if not runs_here(dot.instructions):
        pytest.skip(f'this CPU does not know {dot.instructions.name}')
    run = build(linear_tiles(dot), host_target())
    for n in OUTPUTS:
        for k in INPUTS:
            for m in ROWS:
                check_product(run, m, n, groups_of(k) * 32)


def check_product(run, m, n, k):
    """Integers are exact where all scales are 1; with others the rest is float32's rounding."""
    q = RANDOM.integers(-127, 128, (n, k)).astype(np.int8)
    codes = RANDOM.integers(-127, 128, (m, k // 32, 32)).astype(np.int8)
    q[0], q[1], codes[0], codes[-1] = 127, -127, 127, -127  # the largest sums there are
    bias = RANDOM.integers(-99, 99, n).astype(np.float32)
    ones = np.ones((m, k // 32), np.float32), np.ones((n // 16, k // 32, 16), np.float16)
    y = run(tiles(codes, ones[0]), words_of(q), ones[1], bias, normal(m, n))
    whole = codes.reshape(m, k).astype(np.int64) @ q.T.astype(np.int64)
    np.testing.assert_array_equal(y, whole + bias)

    scale, steps = np.abs(normal(m, k // 32)), np.abs(normal(n // 16, k // 32, 16))
    steps = steps.astype(np.float16)
    y = run(tiles(codes, scale), words_of(q), steps, bias, normal(m, n))
    each = steps.transpose(0, 2, 1).reshape(n, -1, 1).astype(np.float64)
    want = (codes * scale[..., None].astype(np.float64)).reshape(m, k) @ (
        q.reshape(n, -1, 32) * each).reshape(n, k).T
    np.testing.assert_allclose(y, want + bias, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize('instructions, target, instruction', CHOSEN,
                         ids=lambda value: getattr(value, 'name', None))
def test_the_fastest_instructions_of_a_cpu_are_chosen_and_are_what_is_compiled(
        instructions, target, instruction):
    target = tvm.target.Target({'kind': 'llvm', **target})
    dot = dots.best(target)
    assert dot.instructions is instructions
    assembly = compile_kernel(linear_tiles(dot), target).mod.inspect_source('s')
    assert f' {instruction} ' in assembly.replace('\t', ' ')
