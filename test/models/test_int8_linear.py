# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Matrices of vision that multiply in int8 on a CPU: values, shapes, what stays as it was."""
import sys
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from photographs import rgb
from torch import nn
from vision_parts import llava, llava_checkpoint, llava_next

from nanovlm_ros.engine.build import companion_library
from nanovlm_ros.mlc.cpu_companion import CpuCompanion
from nanovlm_ros.models.activated_linear import FUNCTIONS, ActivatedLinear
from nanovlm_ros.models.attention import Attention, Int8Attention, attend_in_int8
from nanovlm_ros.models.int8_linear import Int8Linear, in_int8
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.quantized_linear import QuantizedLinear, dequantize, quantize
from nanovlm_ros.models.vision_encoder import VisionEncoder

sys.path.insert(0, str(Path(__file__).parents[1]))  # activations
from activations import as_int8  # noqa: E402


@cache
def kernels():
    return CpuCompanion(companion_library(lambda *_: None))


@pytest.fixture
def linear():
    """What takes the place of a matrix."""
    return partial(in_int8, kernels=kernels)


def expected(matrix, x, activation=''):
    """The product of the rounded values, in float64."""
    x = nn.functional.pad(FUNCTIONS[activation](x), (0, -x.shape[-1] % 32))
    q, scale = quantize(matrix.weight)
    return as_int8(x).double() @ dequantize(q, scale.double()).T + matrix.bias.double()


@pytest.mark.parametrize('inputs, outputs', [(32, 16), (80, 48), (16, 32), (96, 80)])
def test_a_product_is_that_of_the_rounded_values(linear, inputs, outputs):
    torch.manual_seed(0)
    matrix = nn.Linear(inputs, outputs).requires_grad_(False)
    ours = linear(matrix)
    for shape in ((3, 7), (1, 1), (2, 37), (5,), ()):
        x = torch.randn(*shape, inputs)
        y = ours(x)
        assert y.dtype == torch.float32 and y.shape == (*shape, outputs)
        torch.testing.assert_close(y.double(), expected(matrix, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('activation', FUNCTIONS)
def test_the_function_before_it_is_applied(linear, activation):
    torch.manual_seed(0)
    matrix = ActivatedLinear(activation, 80, 48).requires_grad_(False)
    x = 2 * torch.randn(2, 9, 80)
    close = dict(atol=2e-2, rtol=0)  # a step of 127, where the last bit decides
    torch.testing.assert_close(linear(matrix)(x).double(), expected(matrix, x, activation),
                               **close)
    torch.testing.assert_close(QuantizedLinear(matrix)(x), matrix(x), **close)


def test_views_and_missing_biases_are_taken(linear):
    torch.manual_seed(0)
    matrix = nn.Linear(48, 16, bias=False).requires_grad_(False)
    ours = linear(matrix)
    wide = torch.randn(9, 49)
    for x in (wide[:, 1:], wide.flatten()[1:385].view(8, 48), torch.randn(48, 5).T):
        torch.testing.assert_close(ours(x), ours(x.clone(memory_format=torch.contiguous_format)),
                                   atol=0, rtol=0)
    assert (ours(torch.zeros(3, 48)) == 0).all()


def test_what_is_of_another_shape_keeps_its_way(linear):
    for inputs, outputs in ((40, 16), (32, 10)):
        assert isinstance(linear(nn.Linear(inputs, outputs)), QuantizedLinear)
    assert isinstance(linear(nn.Linear(48, 16)), Int8Linear)
    for head_dim, kind in ((12, Attention), (8, Int8Attention)):
        assert isinstance(attend_in_int8(Attention(4, head_dim), kernels), kind)
    with pytest.raises(RuntimeError):
        linear(nn.Linear(48, 16))(torch.zeros(3, 32))


@pytest.mark.parametrize('model', [llava, llava_next])
def test_rows_are_those_of_float_but_for_a_hundredth(tmp_path, linear, model):
    made = llava_checkpoint(tmp_path, model())
    place = Placement(linear=linear, attention=partial(attend_in_int8, kernels=kernels))
    encoders = [VisionEncoder(made), VisionEncoder(made, place)]
    kinds = {type(part) for part in encoders[1]._tower.modules()}
    assert kinds >= {Int8Linear, Int8Attention} and not kinds & {nn.Linear, Attention}
    want, got = (e.encode(e.preprocess(rgb('chelsea.png')), 451, 300) for e in encoders)
    error = (got - want).square().mean().sqrt() / want.std()
    assert 1e-4 < error < 3e-2


def test_told_bytes_are_those_that_it_takes(linear):
    def build():
        return nn.Sequential(nn.Linear(80, 48), nn.LayerNorm(48), nn.Linear(48, 10))

    place = Placement(linear=linear)
    told, made = place.nbytes(build()), place.finish(build())
    assert told == sum(t.nbytes for t in [*made.parameters(), *made.buffers()])
