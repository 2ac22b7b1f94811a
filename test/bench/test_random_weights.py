# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Made-up weights have the layout of the device and what a tower, a projector and a prompt need."""
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from tiny import CLIP, LLAMA, SIGLIP, STABLELM

from nanovlm_ros.bench import random_weights
from nanovlm_ros.bench.random_checkpoint import random_checkpoint, tower_shapes
from nanovlm_ros.bench.random_weights import RandomWeights
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.repack import parameters
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.models.published import CLIP_L_336, PAGE, SIGLIP_SO400M, Published, configured
from nanovlm_ros.models.templates import LLAMA_3, OBSIDIAN, VICUNA_V1, Special, choose_template
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.models.vision_encoder import VisionEncoder
from nanovlm_ros.models.vision_tower import empty_tower

TILES = {'image_aspect_ratio': 'anyres', 'mm_patch_merge_type': 'spatial_unpad',
         'image_grid_pinpoints': [[56, 112], [112, 56], [112, 112]]}


def shape(device='cpu', quantization='q4f16_1', llm=LLAMA):
    made = configured(Published('tiny', llm)).shape(QUANTIZATIONS[quantization])
    return replace(made, device=device)


@pytest.mark.parametrize('quantization', ['q4f16_1', 'q0f16'])
@pytest.mark.parametrize('device', ['cpu', 'cuda'])
@pytest.mark.parametrize('llm', [LLAMA, STABLELM], ids=['llama', 'stablelm'])
def test_every_parameter_is_there_as_the_device_wants_it(device, quantization, llm):
    made = shape(device, quantization, llm)
    weights = RandomWeights(made)
    assert list(weights) == made.parameter_names()
    for name, (size, dtype) in parameters(made).items():
        assert (weights[name].shape, weights[name].dtype) == (size, np.dtype(dtype)), name
        if np.dtype(dtype).kind == 'f':
            assert np.isfinite(weights[name]).all(), name


def test_numbers_are_the_same_each_time_and_others_in_each_layer(monkeypatch):
    monkeypatch.setattr(random_weights, 'POOL', 1 << 16)
    weights = RandomWeights(shape())
    first, second = (weights[f'layers.{i}.qkv.weight'] for i in (0, 1))
    assert (first == weights['layers.0.qkv.weight']).all() and (first != second).any()
    assert first is not weights['layers.0.qkv.weight'], 'the device may keep what it gets'
    assert len(np.unique(weights['head.weight'])) > 1000, 'larger than the pool is random, too'


@pytest.mark.parametrize('vision', [CLIP_L_336, SIGLIP_SO400M], ids=['clip', 'siglip'])
def test_a_tower_of_full_size_has_all_its_tensors(vision):
    tower = empty_tower(vision, -1, True)
    assert sum(prod(size) for size in tower_shapes(vision).values()) == sum(
        parameter.numel() for parameter in tower.parameters())


@pytest.mark.parametrize('vision, projector, config, rows', [
    (SIGLIP, 'mlp_downsample', {'image_aspect_ratio': 'resize'}, 4),
    (CLIP, 'mlp2x_gelu', {'image_aspect_ratio': 'pad'}, 16),
    (CLIP, 'mlp2x_gelu', TILES, 16 + 8 * 9)], ids=['siglip', 'clip', 'tiles'])
def test_a_made_up_tower_and_projector_make_finite_rows(vision, projector, config, rows):
    with random_checkpoint(Published('tiny', LLAMA, vision, projector, config)) as checkpoint:
        encoder = VisionEncoder(checkpoint)
    pixels = encoder.preprocess(np.full((112, 112, 3), 90, np.uint8))
    made = encoder.encode(pixels, 112, 112)
    assert made.shape == (rows, LLAMA['hidden_size']) and bool(torch.isfinite(made).all())
    assert float(made.std()) > 0


@pytest.mark.parametrize('name, template', [
    ('VILA1.5-3b', VICUNA_V1), ('Llama-3-VILA1.5-8B', LLAMA_3), ('Obsidian-3B-V0.5', OBSIDIAN)])
def test_prompts_are_those_of_the_family_with_a_vocabulary_of_full_size(name, template):
    model = next(model for model in PAGE if model.name == name)
    with random_checkpoint(model) as checkpoint:
        folder = checkpoint.llm_folder
        tokenizer = Tokenizer(folder)
    assert not folder.exists()
    assert tokenizer.vocab_size == model.llm['vocab_size']
    assert choose_template(model.llm['model_type'], tokenizer.has) is template
    controls = {piece.text for piece in template.render([Turn('Is it?', (), None)])
                if isinstance(piece, Special)}
    assert all(tokenizer.has(text) for text in {*controls, *template.stop_tokens})
    assert len(tokenizer.encode('Is there a box?')) < 10
