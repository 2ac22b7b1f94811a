# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Matrices of vision in 8 bits: values, memory, and what they do to an image's rows."""
import numpy as np
import pytest
import torch
from photographs import rgb
from torch import nn
from vision_parts import llava, llava_checkpoint, llava_next

from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.quantized_linear import (
    QuantizedLinear, dequantize, quantize, quantized_bytes)
from nanovlm_ros.models.vision_encoder import VisionEncoder

GROUP = 32


def reference(weight):
    """The scheme once more, in numpy and float64: groups, scales, nearest."""
    n, k = weight.shape
    padded = np.zeros((n, -(-k // GROUP) * GROUP))
    padded[:, :k] = weight
    groups = padded.reshape(n, -1, GROUP)
    scale = np.maximum(np.abs(groups).max(-1) / 127, 2.0 ** -24).astype(np.float16)
    q = np.clip(np.round(groups / scale[..., None].astype(np.float64)), -127, 127)
    return q.reshape(n, -1), scale


@pytest.mark.parametrize('inputs', [32, 64, 80, 5])
def test_values_are_the_nearest_that_a_scale_can_say(inputs):
    weight = np.random.default_rng(0).normal(size=(9, inputs)).astype(np.float32)
    weight[3] = 0
    weight[4] *= 1e-2
    q, scale = quantize(torch.from_numpy(weight))
    want, scales = reference(weight)
    assert (scale.numpy() == scales).all() and np.abs(q.numpy() - want).max() <= 1
    assert (q.numpy() != want).mean() < 0.01, 'but for halves that float32 rounds the other way'
    back = dequantize(q, scale.float()).numpy()[:, :inputs]
    assert (back[3] == 0).all()
    steps = np.repeat(scales.astype(np.float32), GROUP, 1)[:, :inputs]
    assert (np.abs(back - weight) <= 0.57 * steps).all()


@pytest.mark.parametrize('dtype, close', [(torch.float32, 1e-5), (torch.float16, 4e-3)])
def test_a_product_is_that_of_the_matrix_it_stands_for(dtype, close):
    torch.manual_seed(0)
    linear = nn.Linear(80, 48)
    x = torch.randn(3, 7, 80)
    q, scale = quantize(linear.weight)
    want = nn.functional.linear(x, dequantize(q, scale.float())[:, :80], linear.bias)
    got = QuantizedLinear(linear.to(dtype))(x.to(dtype))
    assert got.dtype == dtype and not q.requires_grad and scale.grad_fn is None
    torch.testing.assert_close(got.float(), want, atol=close, rtol=close)


@pytest.mark.parametrize('model', [llava, llava_next])
def test_rows_are_those_of_float_but_for_a_hundredth(tmp_path, model):
    made = llava_checkpoint(tmp_path, model())
    encoders = [VisionEncoder(made), VisionEncoder(made, Placement(linear=QuantizedLinear))]
    want, got = (e.encode(e.preprocess(rgb('chelsea.png')), 451, 300) for e in encoders)
    error = (got - want).square().mean().sqrt() / want.std()
    assert 1e-4 < error < 2e-2


def test_told_bytes_are_those_that_a_tower_takes():
    def build():
        return nn.Sequential(nn.Linear(80, 48), nn.LayerNorm(48), nn.Linear(48, 10))

    place = Placement(linear=QuantizedLinear)
    told = place.nbytes(build())
    made = place.finish(build())
    taken = sum(t.nbytes for t in [*made.parameters(), *made.buffers()])
    assert told == taken == 48 * 3 * 34 + 10 * 2 * 34 + 4 * (48 + 48 + 48 + 10)
    assert quantized_bytes(nn.Linear(80, 48)) == 48 * 3 * 34
    assert Placement().nbytes(build()) == 4 * (80 * 48 + 48 * 3 + 48 * 10 + 10)
