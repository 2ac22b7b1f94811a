# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From pixels to rows of the language model, against transformers' Llava and LlavaNext."""
import random

import numpy as np
import pytest
import torch
from photographs import rgb
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from vision_parts import (
    HALF, HIDDEN, checkpoint, llava, llava_checkpoint, llava_next, siglip)

from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.preprocess import resize
from nanovlm_ros.models.vision_encoder import VisionEncoder
from nanovlm_ros.types import ErrorCode, NanoVlmError

PHOTOGRAPHS = ['chelsea.png', 'cell.png', 'text.png', 'logo.png', 'hubble_deep_field.jpg']
SQUARE = {'size': {'shortest_edge': 56}, 'crop_size': {'height': 56, 'width': 56}}
CLOSE = {'atol': 1e-3, 'rtol': 1e-5}


def rows(encoder, pixels):
    height, width = pixels.shape[:2]
    made = encoder.encode(encoder.preprocess(pixels), width, height)
    assert made.shape == (encoder.tokens(width, height), HIDDEN)
    return made


@torch.no_grad()
def next_rows(model, pixels):
    """Rows by LlavaNext and its processor."""
    grid = model.config.image_grid_pinpoints
    made = LlavaNextImageProcessorPil(**SQUARE, image_grid_pinpoints=grid)(
        pixels, return_tensors='pt')
    return model.get_image_features(**made).pooler_output[0]


def refused(*arguments):
    with pytest.raises(NanoVlmError) as caught:
        VisionEncoder(*arguments)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


@pytest.mark.parametrize('name', PHOTOGRAPHS)
def test_llava_1_5_makes_the_rows_of_transformers(tmp_path, name):
    model = llava()
    encoder = VisionEncoder(llava_checkpoint(tmp_path, model))
    processor = LlavaImageProcessorPil(**SQUARE, do_pad=True)
    with torch.no_grad():
        want = model.get_image_features(
            processor(rgb(name), return_tensors='pt')['pixel_values']).pooler_output[0]
    assert want.std() > 0.5, 'the comparison means something'
    torch.testing.assert_close(rows(encoder, rgb(name)), want, **CLOSE)


@pytest.mark.parametrize('name', PHOTOGRAPHS)
@pytest.mark.parametrize('cut', [np.s_[:], np.s_[:39, :50], np.s_[:, 100:131]])
def test_llava_1_6_makes_the_rows_of_transformers(tmp_path, name, cut):
    model = llava_next()
    encoder = VisionEncoder(llava_checkpoint(tmp_path, model))
    pixels = np.ascontiguousarray(rgb(name)[cut])
    torch.testing.assert_close(rows(encoder, pixels), next_rows(model, pixels), **CLOSE)


def test_the_rows_of_any_size_are_as_many_as_announced_and_as_transformers_makes(tmp_path):
    model = llava_next(size=28, patch=7)
    encoder = VisionEncoder(llava_checkpoint(tmp_path, model))
    draw = random.Random(5)
    photograph, counts = rgb('coffee.png'), set()
    small = {'size': {'shortest_edge': 28}, 'crop_size': {'height': 28, 'width': 28}}
    processor = LlavaNextImageProcessorPil(
        **small, image_grid_pinpoints=model.config.image_grid_pinpoints)
    for _ in range(300):
        width, height = (int(10 ** draw.uniform(0, 2.4)) for _ in range(2))
        pixels = np.ascontiguousarray(photograph[:height, :width])
        with torch.no_grad():
            want = model.get_image_features(
                **processor(pixels, input_data_format='channels_last', return_tensors='pt')
            ).pooler_output[0]
        torch.testing.assert_close(rows(encoder, pixels), want, **CLOSE)
        counts.add(len(want))
    assert len(counts) > 10


def test_vila_1_5_makes_the_rows_of_siglip_and_its_projector(tmp_path):
    tower = siglip(size=70)  # 5 x 5 patches: one line and one column of zeros
    torch.manual_seed(6)
    w = {'layers.1.weight': torch.rand(192), 'layers.1.bias': torch.rand(192),
         'layers.2.weight': torch.randn(HIDDEN, 192), 'layers.2.bias': torch.randn(HIDDEN),
         'layers.4.weight': torch.randn(HIDDEN, HIDDEN), 'layers.4.bias': torch.randn(HIDDEN)}
    encoder = VisionEncoder(checkpoint(
        tmp_path, tower, w, projector_type='mlp_downsample', aspect_ratio='resize',
        image_mean=HALF, image_std=HALF))
    processor = SiglipImageProcessorPil(size={'height': 70, 'width': 70})
    pixels = processor(rgb('rocket.jpg'), return_tensors='pt')['pixel_values']
    with torch.no_grad():
        hidden = tower(pixels, output_hidden_states=True).hidden_states[-2][0]
    grid = torch.zeros(6, 6, 48)
    grid[:5, :5] = hidden.view(5, 5, 48)
    blocks = torch.stack([
        torch.cat([grid[y, x], grid[y, x + 1], grid[y + 1, x], grid[y + 1, x + 1]])
        for x in range(0, 6, 2) for y in range(0, 6, 2)])
    y = torch.layer_norm(blocks, (192,), w['layers.1.weight'], w['layers.1.bias'])
    y = torch.nn.functional.gelu(y @ w['layers.2.weight'].T + w['layers.2.bias'])
    want = y @ w['layers.4.weight'].T + w['layers.4.bias']
    torch.testing.assert_close(rows(encoder, rgb('rocket.jpg')), want, **CLOSE)


@pytest.mark.parametrize('model', [llava, llava_next])
def test_in_float16_as_on_a_gpu_the_rows_are_those_of_float32_but_for_its_rounding(
        tmp_path, model):
    made = llava_checkpoint(tmp_path, model())
    want = rows(VisionEncoder(made), rgb('chelsea.png'))
    got = rows(VisionEncoder(made, Placement(dtype=torch.float16)), rgb('chelsea.png'))
    worst = (got - want).abs().max()
    assert 0 < worst < 5e-3 * want.abs().max()


def test_without_unpadding_there_is_no_newline(tmp_path):
    model = llava_next()
    made = llava_checkpoint(tmp_path, model, unpad=False, image_newline=lambda: None)
    with_newlines = VisionEncoder(llava_checkpoint(tmp_path, model))
    square = rgb('astronaut.png')  # nothing to cut off
    flat, lined = rows(VisionEncoder(made), square), rows(with_newlines, square)
    assert len(flat) == 5 * 16 and len(lined) == 16 + 8 * 9
    torch.testing.assert_close(flat[:16], lined[:16])
    torch.testing.assert_close(flat[16:20], lined[16:20])  # the first line of the first tile


def test_tiles_can_be_switched_off(tmp_path):
    encoder = VisionEncoder(llava_checkpoint(tmp_path, llava_next(), aspect_ratio='resize'))
    base = encoder.preprocess(rgb('coffee.png'))
    assert base.shape == (1, 56, 56, 3) and encoder.tokens(600, 400) == 16
    np.testing.assert_array_equal(base, resize(rgb('coffee.png'), 56))


def test_pixels_of_another_size_than_announced_are_refused(tmp_path):
    encoder = VisionEncoder(llava_checkpoint(tmp_path, llava_next()))
    pixels = encoder.preprocess(rgb('coffee.png'))  # 600 x 400
    with pytest.raises(NanoVlmError, match='2000 x 100 pixels makes 4 views') as caught:
        encoder.encode(pixels, 2000, 100)
    assert caught.value.code == ErrorCode.BAD_IMAGE


@pytest.mark.parametrize('changes, parts', [
    ({'grid_pinpoints': [[50, 112]]}, ['[50, 112]', '56']),
    ({'image_newline': lambda: None}, ['image_newline', 'none']),
    ({'image_newline': lambda: torch.zeros(5)}, ['image_newline', '(5,)', f'({HIDDEN},)']),
    ({'keep_class_token': True}, ['anyres', '16', '17']),
    ({'llm': {'hidden_size': 99}}, ['0.weight', '(99, 32)', f'({HIDDEN}, 32)'])])
def test_a_checkpoint_whose_parts_do_not_fit_is_refused(tmp_path, changes, parts):
    message = refused(llava_checkpoint(tmp_path, llava_next(), **changes))
    assert all(part in message for part in parts)


@pytest.mark.parametrize('shape', [(1, 1, 3), (1, 700, 3), (700, 1, 3)])
def test_a_strip_or_a_point_makes_rows_in_every_family(tmp_path, shape):
    pixels = np.full(shape, 200, np.uint8)
    for name, model in (('1.5', llava()), ('1.6', llava_next())):
        encoder = VisionEncoder(llava_checkpoint(tmp_path / name, model))
        assert rows(encoder, pixels).isfinite().all()
