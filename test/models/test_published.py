# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The dimensions of the page's models give the sizes that their publishers name."""
import json
from math import prod

import pytest

from nanovlm_ros.mlc.mlc_layout import decoder_groups, stored_parameters
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import LAYER_NORM
from nanovlm_ros.models.checkpoint import ANYRES
from nanovlm_ros.models.projector import tokens_per_image
from nanovlm_ros.models.published import PAGE, PUBLISHED, configured, find_published
from nanovlm_ros.models.vision_tower import empty_tower
from nanovlm_ros.types import ErrorCode, NanoVlmError

# Numbers in the published files of the language models, and rows of an image.
KNOWN = {
    'llava-v1.5-7b': (6_738_415_616, 576), 'llava-v1.5-13b': (13_015_864_320, 576),
    'llava-v1.6-vicuna-7b': (6_738_415_616, 576), 'llava-v1.6-vicuna-13b': (13_015_864_320, 576),
    'VILA-2.7b': (2_701_560_320, 576), 'VILA-7b': (6_738_415_616, 576),
    'VILA-13b': (13_015_864_320, 576), 'VILA1.5-3b': (2_701_560_320, 196),
    'Llama-3-VILA1.5-8B': (8_030_261_248, 196), 'VILA1.5-13b': (13_015_864_320, 196),
    'Obsidian-3B-V0.5': (2_795_443_200, 576)}


def shape(name):
    return configured(PUBLISHED[name]).shape(QUANTIZATIONS['q0f16'])


def numbers(name):
    return sum(prod(p.shape) for p in stored_parameters(decoder_groups(shape(name), tied=False)))


def test_the_page_has_eleven_models():
    assert [model.name for model in PAGE] == list(KNOWN)


@pytest.mark.parametrize('name', KNOWN)
def test_a_model_has_as_many_parameters_and_rows_an_image_as_the_published_one(name):
    checkpoint = configured(PUBLISHED[name])
    tower = empty_tower(checkpoint.vision, checkpoint.select_layer, checkpoint.keep_class_token)
    rows = tokens_per_image(checkpoint.projector_type, tower.tokens)
    assert (numbers(name), rows) == KNOWN[name]


def test_the_language_model_for_comparisons_is_the_published_one():
    assert numbers('TinyLlama-1.1B') == 1_100_048_384
    assert PUBLISHED['TinyLlama-1.1B'].vision is None


def test_heads_and_rotations_are_those_of_the_families():
    llama = shape('Llama-3-VILA1.5-8B')
    assert (llama.q_heads, llama.kv_heads, llama.head_dim) == (32, 8, 128)
    stablelm = shape('Obsidian-3B-V0.5')
    assert (stablelm.norm, stablelm.head_dim, stablelm.rotated) == (LAYER_NORM, 80, 20)
    assert all(shape(name).rotated == 128 for name in KNOWN if name != 'Obsidian-3B-V0.5')
    assert configured(PUBLISHED['Llama-3-VILA1.5-8B']).rope_theta == 500000.0


def test_images_come_as_each_family_was_trained():
    assert {name for name in KNOWN if configured(PUBLISHED[name]).aspect_ratio == ANYRES} == {
        'llava-v1.6-vicuna-7b', 'llava-v1.6-vicuna-13b'}
    assert {name for name in KNOWN if PUBLISHED[name].several_images} == {
        name for name in KNOWN if 'VILA' in name}


@pytest.mark.parametrize('name', [
    'VILA1.5-3b', 'vila1.5-3B', 'Efficient-Large-Model/VILA1.5-3b'])
def test_a_model_is_found_by_its_name(name):
    assert find_published(name) is PUBLISHED['VILA1.5-3b']


def test_a_file_may_describe_another_model(tmp_path):
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps({'llm': PUBLISHED['TinyLlama-1.1B'].llm, 'projector': 'linear'}))
    model = find_published(str(path))
    assert (model.name, model.projector, model.vision) == ('mine', 'linear', None)
    assert model.llm == PUBLISHED['TinyLlama-1.1B'].llm


@pytest.mark.parametrize('name, content, said', [
    ('VILA-9b', None, 'VILA-2.7b'), ('absent.json', None, 'absent.json'),
    ('a.json', '{', 'a.json'), ('a.json', '{}', 'llm'), ('a.json', '[]', 'llm'),
    ('a.json', '{"llm": 3}', 'llm'), ('a.json', '{"llm": {}, "size": 3}', 'size')])
def test_what_is_no_model_is_a_sentence(tmp_path, name, content, said):
    if content:
        (tmp_path / name).write_text(content)
    with pytest.raises(NanoVlmError, match=said) as caught:
        find_published(str(tmp_path / name) if name.endswith('.json') else name)
    assert caught.value.code == ErrorCode.INVALID_REQUEST
