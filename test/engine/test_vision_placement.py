# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of vision's matrices and attention on a CPU, by what is asked for."""
from functools import partial

import pytest

from nanovlm_ros.engine.companion import Companion
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.models.attention import attend_in_int8
from nanovlm_ros.models.int8_linear import in_int8
from nanovlm_ros.models.quantized_linear import QuantizedLinear


@pytest.mark.parametrize('quantization, vision_weights, activations, linear, attention', [
    ('q4f16_1', 'auto', 'int8', in_int8, attend_in_int8),
    ('q0f32', 'int8', 'int8', in_int8, attend_in_int8),
    ('q4f16_1', 'auto', 'float32', QuantizedLinear, None),
    ('q0f32', 'int8', 'float32', QuantizedLinear, None),
    ('q0f32', 'auto', 'int8', None, None),
    ('q4f16_1', 'float', 'int8', None, None)])
def test_weights_and_activations_choose(
        quantization, vision_weights, activations, linear, attention):
    shape = DecoderShape(
        hidden=32, intermediate=32, layers=1, q_heads=2, kv_heads=2, head_dim=16, vocab=32,
        norm_eps=1e-5, quantization=QUANTIZATIONS[quantization]).on('cpu', activations)
    place = Companion('cpu').placement(shape, vision_weights, activations)
    assert (_chosen(place.linear), _chosen(place.attention)) == (linear, attention)


def _chosen(replacement):
    return replacement.func if isinstance(replacement, partial) else replacement
