# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernels with int8 activations, for every instruction set, against numpy."""
import numpy as np
import plain
import pytest

tvm = pytest.importorskip('tvm', reason='kernels are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

from compiled import build, compile_kernel, normal  # noqa: E402
from instructions import CHOSEN, runs_here  # noqa: E402

from nanovlm_ros.mlc import compile as compiling  # noqa: E402
from nanovlm_ros.mlc.compile import host_target  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu import dot as dots  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.linear_int8 import linear_int8  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu.quantize import quantize_rows  # noqa: E402
from nanovlm_ros.mlc.packing import QUANTIZATIONS, round_trip  # noqa: E402

N, K = 48, 96
ROWS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31]  # all mixes of tiles of 8, 4, 2 and 1
RANDOM = np.random.default_rng(1)


def quantized(x):
    """Return what `quantize_rows` should: q int8 (m, k), scale (m, k / 32)."""
    groups = x.reshape(len(x), -1, 32)
    largest = np.abs(groups).max(-1)
    with np.errstate(divide='ignore', over='ignore'):
        inverse = np.where(largest > 1e-30, np.float32(127) / largest, np.float32(0))
    return (np.rint(groups * inverse[..., None]).astype(np.int8).reshape(x.shape),
            largest * np.float32(1 / 127))


@pytest.fixture(scope='module')
def quantize():
    run = build(quantize_rows(K), host_target())
    return lambda x: run(x, np.empty((len(x), K // 32, 10), np.int32))


@pytest.mark.parametrize('m', [1, 3, 8, 31])
def test_each_group_of_32_is_rounded_to_127_steps_of_its_largest(quantize, m):
    x = normal(m, K) * (10.0 ** RANDOM.integers(-20, 20, (m, 1))).astype(np.float32)
    x[m // 2, :64] = [0] * 32 + [1e-39] * 32  # nothing, and what has no inverse
    groups = quantize(x)
    q, scale = quantized(x)
    np.testing.assert_array_equal(
        np.ascontiguousarray(groups[:, :, :8]).view(np.int8).reshape(m, K), q)
    np.testing.assert_array_equal(groups[:, :, 8], scale.view(np.int32))
    np.testing.assert_array_equal(
        groups[:, :, 9], -7 * q.reshape(m, -1, 32).sum(-1, dtype=np.int32))


def test_a_number_that_is_not_finite_makes_no_finite_product(quantize):
    dot = dots.best(host_target())
    packed = plain.joined(plain.matrix(normal(N, K), QUANTIZATIONS['q4f16_1']))
    run = build(linear_int8(N, K, 'float16', False, dot), host_target())
    for odd in (np.nan, np.inf, -np.inf):
        x = normal(3, K)
        x[1, 40] = odd
        y = run(quantize(x), *packed, normal(3, N))
        assert np.isfinite(y[[0, 2]]).all() and not np.isfinite(y[1]).any()


def test_a_model_of_cpu_does_not_stand_for_features_that_this_one_lacks(monkeypatch):
    here = tvm.get_global_func('tvm.codegen.llvm.GetHostCPUFeatures')()
    lacking = dict.fromkeys(here, False)  # some of them come with others
    monkeypatch.setattr(compiling.tvm_ffi, 'get_global_func', lambda name: lambda: lacking)
    monkeypatch.setattr(compiling.codegen, 'llvm_get_system_cpu', lambda: 'sapphirerapids')
    assert not dots.best(host_target()).name.startswith('avx')


@pytest.mark.parametrize('name, accumulate', [('q4f16_1', True), ('q4f32_1', False)])
@pytest.mark.parametrize('dot', dots.BEST_FIRST, ids=lambda dot: dot.name)
def test_every_instruction_set_gives_the_product_of_the_int8_and_the_4_bit_values(
        quantize, dot, name, accumulate):
    if not runs_here(dot):
        pytest.skip(f'this CPU does not know {dot.name}')
    weight, quantization = normal(N, K), QUANTIZATIONS[name]
    weight[:, :32] = np.abs(weight[:, :32]).max()  # all codes 14: the largest sums there are
    packed = plain.joined(plain.matrix(weight, quantization))
    run = build(linear_int8(N, K, quantization.scale, accumulate, dot), host_target())
    for m in ROWS:
        x, before = normal(m, K), normal(m, N)
        x[0, :32] = 3
        q, scale = quantized(x)
        exact = (q.reshape(m, -1, 32) * scale.astype(np.float64)[..., None]).reshape(m, K)
        expected = exact @ round_trip(weight, quantization).T
        expected += before if accumulate else 0
        np.testing.assert_allclose(run(quantize(x), *packed, before), expected, atol=5e-5)


@pytest.mark.parametrize('dot, target, instruction', CHOSEN,
                         ids=lambda value: getattr(value, 'name', None))
def test_the_fastest_instructions_of_a_cpu_are_chosen_and_are_what_is_compiled(
        dot, target, instruction):
    target = tvm.target.Target({'kind': 'llvm', **target})
    assert dots.best(target) is dot
    module = compile_kernel(linear_int8(16, 32, 'float16', False, dot), target)
    assembly = module.mod.inspect_source('s').replace('\t', ' ')
    assert f' {instruction} ' in assembly
