# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Quantisation and weight layouts."""
import numpy as np
import pytest

from nanovlm_ros.mlc.packing import (
    QUANTIZATIONS, dequantize, pack_linear, pack_words, quantize, round_trip)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize('scale_dtype', ['float16', 'float32'])
def test_a_weight_is_off_by_at_most_half_a_step(scale_dtype):
    weight = RANDOM.standard_normal((48, 96)).astype(np.float32)
    q, scale = quantize(weight, scale_dtype)
    assert q.min() >= -7 and q.max() <= 7
    step = np.repeat(scale.astype(np.float32), 32, axis=1)
    # The largest weight of a group may clip by what rounding took off the scale.
    assert (np.abs(dequantize(q, scale) - weight) <= step * 0.504).all()


def test_a_group_of_zeros_stays_zero():
    assert not round_trip(np.zeros((16, 32), np.float32), QUANTIZATIONS['q4f16_1']).any()


def test_a_word_holds_eight_columns_from_the_low_nibble_up():
    q = np.array([[1, -1, 7, -7, 0, 2, 3, 4]], np.int8)
    word = int(pack_words(q).view(np.uint32)[0, 0])
    nibbles = [(word >> 4 * i) & 15 for i in range(8)]
    assert [n - 16 if n > 7 else n for n in nibbles] == q[0].tolist()


def test_sixteen_rows_lie_side_by_side():
    weight = RANDOM.standard_normal((32, 64)).astype(np.float32)
    packed = pack_linear(weight, QUANTIZATIONS['q0f32'])['weight']
    assert packed.shape == (2, 64, 16)
    assert packed[1, 5, 3] == weight[19, 5]


def test_a_shape_that_does_not_fit_the_layout_is_refused():
    with pytest.raises(ValueError, match='got 16 x 33'):
        pack_linear(np.zeros((16, 33), np.float32), QUANTIZATIONS['q4f32_1'])
