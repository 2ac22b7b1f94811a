# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention of vision in int8, for every instruction set, against numpy."""
import platform

import numpy as np
import pytest

tvm = pytest.importorskip('tvm', reason='kernels are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

import torch  # noqa: E402
from instructions import runs_here  # noqa: E402

from nanovlm_ros.mlc import compile as compiling  # noqa: E402
from nanovlm_ros.mlc.cpu_companion import CpuCompanion  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu import companion  # noqa: E402
from nanovlm_ros.mlc.kernels.cpu import dot_int8 as dots  # noqa: E402
from nanovlm_ros.mlc.target import Target  # noqa: E402

HEADS = 2


@pytest.fixture(scope='module', params=dots.BEST_FIRST, ids=lambda dot: dot.instructions.name)
def kernels(request, tmp_path_factory):
    """The library of an instruction set."""
    if not runs_here(request.param.instructions):
        pytest.skip(f'this CPU does not know {request.param.instructions.name}')
    path = tmp_path_factory.mktemp('library') / f'{platform.machine()}.so'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(companion, 'best', lambda target: request.param)
        compiling.write_library(
            compiling.compile_companion('cpu', compiling.host_target()), Target('cpu'), path)
    return CpuCompanion(path)


def rounded(x, axis):
    """Round groups of 32 along an axis to 127 steps of their largest."""
    x = np.moveaxis(x, axis, -1)
    groups = np.zeros((*x.shape[:-1], -(-x.shape[-1] // 32) * 32))
    groups[..., :x.shape[-1]] = x
    groups = groups.reshape(*x.shape[:-1], -1, 32)
    step = np.maximum(np.abs(groups).max(-1, keepdims=True), 1e-30) / 127
    groups = (np.rint(groups / step) * step).reshape(*x.shape[:-1], -1)
    return np.moveaxis(groups[..., :x.shape[-1]], -1, axis)


def reference(qkv, d):
    """Attention of rounded numbers in float64; qkv (n, m, 3 * hidden) -> (n, m, hidden)."""
    n, m, _ = qkv.shape
    q, k, v = qkv.astype(np.float64).reshape(n, m, 3, HEADS, d).transpose(2, 0, 3, 1, 4)
    scores = rounded(q, -1) @ np.swapaxes(rounded(k, -1), -1, -2) / np.sqrt(d)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    y = rounded(powers, -1) @ rounded(v, -2) / powers.sum(-1, keepdims=True)
    return y.transpose(0, 2, 1, 3).reshape(n, m, -1)


@pytest.mark.parametrize('n, m, d', [
    (1, 1, 8), (2, 5, 24), (1, 32, 64), (3, 33, 72), (2, 100, 32), (1, 257, 80)])
def test_every_patch_attends_to_every_other_of_its_image(kernels, n, m, d):
    qkv = np.random.default_rng(m).normal(size=(n, m, 3 * HEADS * d)).astype(np.float32)
    qkv[0, 0, :d] *= 20  # a row that looks at one other
    qkv[-1, -1, -d:] = 0
    y = kernels.attention(torch.from_numpy(qkv), HEADS).numpy()
    want = reference(qkv, d)
    assert y.shape == want.shape and y.dtype == np.float32
    # Where the last bit decides, a number is rounded to the next of 127 steps.
    np.testing.assert_allclose(y, want, atol=2e-2)
    assert np.sqrt(np.square(y - want).mean()) < 1e-3


@pytest.mark.parametrize('workers', [1, 3, 7, 50])
def test_any_number_of_threads_gives_the_same(kernels, monkeypatch, workers):
    qkv = torch.randn(2, 21, 3 * HEADS * 24, generator=torch.Generator().manual_seed(0))
    want = kernels.attention(qkv, HEADS)
    monkeypatch.setattr(kernels, '_workers', workers)
    assert (kernels.attention(qkv, HEADS) == want).all()


def test_it_is_close_to_that_of_floats(kernels):
    torch.manual_seed(0)
    qkv = torch.randn(2, 49, 3 * HEADS * 40)
    q, k, v = qkv.view(2, 49, 3, HEADS, 40).permute(2, 0, 3, 1, 4)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    error = kernels.attention(qkv, HEADS) - want.transpose(1, 2).reshape(2, 49, -1)
    assert 1e-4 < error.square().mean().sqrt() / want.std() < 3e-2


def test_large_scores_do_not_overflow(kernels):
    qkv = torch.full((1, 6, 3 * HEADS * 16), 1e4)
    torch.testing.assert_close(kernels.attention(qkv, HEADS), torch.full((1, 6, HEADS * 16), 1e4))


@pytest.mark.parametrize('features, instruction', [(['+dotprod'], 'sdot'), ([], 'mla')])
def test_all_of_vision_compiles_for_arm(features, instruction):
    target = tvm.target.Target({
        'kind': 'llvm', 'mtriple': 'aarch64-linux-gnu', 'mattr': features})
    assembly = compiling.compile_companion('cpu', target).mod.inspect_source('s')
    assert f' {instruction} ' in assembly.replace('\t', ' ')


@pytest.mark.parametrize('part', ['q', 'k', 'v'])
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('everywhere', [False, True])
def test_what_is_no_number_does_not_become_one(kernels, part, value, everywhere):
    """Where attention in float is not finite, it is not: damaged weights are to be found out."""
    m, d = 40, 16
    qkv = torch.from_numpy(np.random.default_rng(0).normal(size=(1, m, 3, HEADS, d)).astype(
        np.float32))
    qkv[0, slice(None) if everywhere else 7, 'qkv'.index(part), 1, 3] = value
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    got = kernels.attention(qkv.flatten(2), HEADS)
    odd = ~torch.isfinite(want)
    assert odd.any() and not torch.isfinite(got[odd]).any()
    assert torch.isfinite(got[..., :d]).all(), 'the other head'
