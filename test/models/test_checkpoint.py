# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model folder says is understood, and a broken one is refused by the name of its file."""
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nanovlm_ros.engine.loader import demo_model
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import LAYER_NORM, RMS_NORM
from nanovlm_ros.models.checkpoint import CLIP_MEAN, CLIP_STD, check_llm, normalisation
from nanovlm_ros.models.layouts import open_model_folder
from nanovlm_ros.models.weights import open_weights
from nanovlm_ros.types import ErrorCode, NanoVlmError

LLAMA = {'model_type': 'llama', 'hidden_size': 64, 'intermediate_size': 96, 'vocab_size': 160,
         'num_hidden_layers': 2, 'num_attention_heads': 4, 'rms_norm_eps': 1e-5,
         'max_position_embeddings': 128}
OBSIDIAN = {**LLAMA, 'model_type': 'llava_stablelm_epoch', 'hidden_size': 160, 'norm_eps': 1e-5,
            'num_attention_heads': 2, 'rope_pct': 0.25}


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(demo_model(), tmp_path / 'model')


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(call, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


def demo(**llm):
    """The demo model's checkpoint with another configuration of its language model."""
    return replace(open_model_folder(demo_model()), llm=llm)


def test_the_demo_model_opens(copy):
    checkpoint = open_model_folder(copy)
    assert checkpoint.projector_type == 'mlp_downsample'
    assert checkpoint.aspect_ratio == 'resize' and checkpoint.several_images
    assert checkpoint.name == 'model' and open_model_folder(copy, name='own').name == 'own'


@pytest.mark.parametrize('name', [
    'config.json', 'llm/config.json', 'vision_tower/config.json', 'mm_projector/config.json'])
@pytest.mark.parametrize('content', ['{', '[1]', None])
def test_a_missing_or_broken_configuration_is_named(copy, name, content):
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content)
    assert str(copy / name) in refused(open_model_folder, copy)


def test_a_missing_part_is_named(copy):
    shutil.rmtree(copy / 'mm_projector')
    assert 'mm_projector/' in refused(open_model_folder, copy)


def test_a_missing_tensor_is_named_with_its_files(copy):
    message = refused(open_weights(copy / 'llm').tensor, 'model.nothing')
    assert 'model.nothing' in message and 'model.safetensors' in message


@pytest.mark.parametrize('changes, said', [
    ({'model_type': 'mamba'}, "'mamba'"), ({'hidden_act': 'gelu'}, "'gelu'"),
    ({'attention_bias': True}, 'attention_bias'), ({'mlp_bias': True}, 'mlp_bias'),
    ({'rope_scaling': {'type': 'linear', 'factor': 2.0}}, 'linear'),
    ({'rope_parameters': {'rope_type': 'llama3', 'factor': 8.0}}, 'llama3'),
    ({'rotary_scaling_factor': 2.0}, '2.0')])
def test_what_the_decoder_does_not_do_is_refused_by_name(changes, said):
    assert said in refused(check_llm, {**LLAMA, **changes}, Path('model'))


@pytest.mark.parametrize('changes', [
    {'rope_scaling': None}, {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}},
    {'use_qkv_bias': False, 'rotary_scaling_factor': 1.0}])
def test_what_says_that_nothing_is_special_is_no_hindrance(changes):
    check_llm({**LLAMA, **changes}, Path('model'))


@pytest.mark.parametrize('name', ['hidden_size', 'num_attention_heads', 'num_hidden_layers',
                                  'intermediate_size', 'vocab_size', 'rms_norm_eps'])
@pytest.mark.parametrize('value', [None, 0, 'many', True])
def test_a_dimension_that_is_no_number_is_named(name, value):
    assert name in refused(demo(**{**LLAMA, name: value}).shape, QUANTIZATIONS['q0f32'])


@pytest.mark.parametrize('changes', [{'head_dim': 24}, {'hidden_size': 96}])
def test_heads_that_the_kernels_cannot_take_are_refused(changes):
    assert '24 numbers' in refused(demo(**{**LLAMA, **changes}).shape, QUANTIZATIONS['q0f32'])


@pytest.mark.parametrize('changes, said', [
    ({'vocab_size': 161}, 'model.embed_tokens.weight is a matrix of 161 x 64'),
    ({'intermediate_size': 104}, 'mlp.down_proj.weight is a matrix of 64 x 104')])
def test_matrices_that_the_kernels_cannot_take_are_refused_before_anything_is_made_of_them(
        changes, said):
    message = refused(demo(**{**LLAMA, **changes}).shape, QUANTIZATIONS['q0f32'])
    assert said in message and 'Pad the checkpoint' in message


def test_a_llama_is_read():
    checkpoint = demo(**LLAMA, num_key_value_heads=2)
    shape = checkpoint.shape(QUANTIZATIONS['q4f16_1'])
    assert (shape.q_heads, shape.kv_heads, shape.head_dim) == (4, 2, 16)
    assert shape.norm == RMS_NORM and shape.rotated == 16 and shape.cache_dtype == 'float32'
    assert checkpoint.rope_theta == 10000.0 and not checkpoint.tied
    assert demo(**LLAMA, rope_theta=5e5).rope_theta == 5e5
    assert demo(**LLAMA, rope_parameters={'rope_theta': 5e5}).rope_theta == 5e5


@pytest.mark.parametrize('words', [
    {}, {'rope_pct': None}, {'rope_pct': None, 'partial_rotary_factor': 0.25},
    {'rope_pct': None, 'rope_parameters': {'partial_rotary_factor': 0.25}}])
def test_a_stablelm_is_read_whatever_its_age(words):
    shape = demo(**{**OBSIDIAN, **words}).shape(QUANTIZATIONS['q0f32'])
    assert (shape.head_dim, shape.rotated, shape.norm) == (80, 20, LAYER_NORM)
    assert shape.norm_eps == 1e-5 and shape.kv_heads == shape.q_heads == 2


@pytest.mark.parametrize('name, dtype', [
    ('q4f16_1', 'float16'), ('q0f16', 'float16'), ('q4f32_1', 'float32'), ('q0f32', 'float32')])
def test_a_large_model_has_k_and_v_in_the_type_of_its_numbers(name, dtype):
    large = {**LLAMA, 'hidden_size': 4096, 'num_attention_heads': 32}
    assert demo(**large).shape(QUANTIZATIONS[name]).cache_dtype == dtype


def test_pixels_are_normalised_as_the_folder_says_or_as_its_kind(tmp_path):
    assert normalisation(tmp_path, clip=True) == (CLIP_MEAN, CLIP_STD)
    assert normalisation(tmp_path, clip=False) == ((0.5,) * 3, (0.5,) * 3)
    path = tmp_path / 'preprocessor_config.json'
    path.write_text('{"image_mean": [0, 0.1, 0.2], "image_std": null}')
    assert normalisation(tmp_path, clip=True) == ((0, 0.1, 0.2), CLIP_STD)
    path.write_text('{"image_mean": 0.5}')
    assert str(path) in refused(normalisation, tmp_path, True)
