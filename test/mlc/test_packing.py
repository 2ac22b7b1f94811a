# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Quantisation, and the layout in which the CPU kernels read weights."""
import numpy as np
import plain
import pytest
from decoders import checkpoint_tensors, small_shape
from nanovlm_ros.mlc.convert import convert_decoder, nibbles
from nanovlm_ros.mlc.kernels.cpu.layout import lanes_last, write
from nanovlm_ros.mlc.packing import QUANTIZATIONS, dequantize, quantize, round_trip
from nanovlm_ros.mlc.repack import library_parameters

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


def test_a_word_holds_four_columns_in_its_low_nibbles_and_those_16_further_in_its_high_ones():
    q = np.zeros((16, 64), np.int8)
    q[3, 36:40], q[3, 52:56] = [1, -1, 7, -7], [0, 2, 3, 4]
    words = lanes_last(nibbles(q), words=True)
    assert words.shape == (1, 8, 16) and words.dtype == np.int32
    word = words[0, 5, 3:4].view(np.uint8)
    assert (word & 15).tolist() == [8, 6, 14, 0] and (word >> 4).tolist() == [7, 9, 10, 11]
    assert (np.delete(words.reshape(8, 16), 5, axis=0) == 0x77777777).all()


def test_sixteen_rows_lie_side_by_side():
    weight = RANDOM.standard_normal((32, 64)).astype(np.float32)
    packed = lanes_last(weight, words=False)
    assert packed.shape == (2, 64, 16)
    assert packed[1, 5, 3] == weight[19, 5]


@pytest.mark.parametrize('name', QUANTIZATIONS)
def test_the_scales_of_a_group_lie_behind_its_words_in_the_array_of_a_library(name):
    shape = small_shape(name)
    parts = dict(convert_decoder(shape, checkpoint_tensors().__getitem__, tied=False))
    arrays = library_parameters(shape)
    for key, (size, dtype) in arrays.items():
        array = np.zeros(size, dtype)
        write(key, array, parts)
        stem = key.rpartition('.')[0]
        expected = parts[key]
        if f'{stem}.scale' in parts and stem != 'embedding':
            expected, = plain.joined(
                {part: parts[f'{stem}.{part}'] for part in ('weight', 'scale')})
        assert (expected.shape, expected.dtype) == (size, np.dtype(dtype)), key
        np.testing.assert_array_equal(array, expected, err_msg=key)
    left = parts.keys() - arrays.keys()
    assert all(key.endswith('.scale') for key in left)
    assert bool(left) == shape.quantization.quantized
