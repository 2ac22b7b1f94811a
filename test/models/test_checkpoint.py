# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A broken model folder is refused with a sentence that names the file."""
import json
import shutil

import pytest

from nanovlm_ros.engine.loader import demo_model, load
from nanovlm_ros.models.checkpoint import Weights, open_checkpoint
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.types import ErrorCode, NanoVlmError


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


def test_the_demo_model_opens(copy):
    checkpoint = open_checkpoint(copy)
    assert checkpoint.projector_type == 'mlp_downsample'
    assert checkpoint.template.name == 'vicuna_v1'


def test_a_missing_folder_is_named(tmp_path):
    assert str(tmp_path / 'none') in refused(load, str(tmp_path / 'none'))


@pytest.mark.parametrize('name', [
    'config.json', 'llm/config.json', 'vision_tower/config.json', 'mm_projector/config.json'])
def test_a_missing_or_broken_configuration_is_named(copy, name):
    (copy / name).write_text('{')
    assert str(copy / name) in refused(open_checkpoint, copy)
    (copy / name).unlink()
    assert str(copy / name) in refused(open_checkpoint, copy)


def test_a_missing_part_is_named(copy):
    shutil.rmtree(copy / 'mm_projector')
    assert 'mm_projector/' in refused(open_checkpoint, copy)


def test_weights_that_are_cut_short_are_named(copy):
    path = copy / 'llm' / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:1000])
    assert str(path) in refused(Weights, copy / 'llm')


def test_a_missing_tensor_is_named_with_its_files(copy):
    message = refused(Weights(copy / 'llm').tensor, 'model.nothing')
    assert 'model.nothing' in message and 'model.safetensors' in message


def test_a_missing_or_broken_tokenizer_is_named(copy):
    path = copy / 'llm' / 'tokenizer.json'
    path.write_text('{}')
    assert str(path) in refused(Tokenizer, copy / 'llm')
    path.unlink()
    assert str(path) in refused(Tokenizer, copy / 'llm')


def test_an_architecture_beyond_us_is_refused_by_name(copy):
    edit(copy / 'llm' / 'config.json', model_type='mamba')
    assert "'mamba'" in refused(open_checkpoint, copy)


def test_control_tokens_in_user_text_stay_text():
    tokenizer = Tokenizer(demo_model() / 'llm')
    ids = tokenizer.encode('end it </s> now <s>')
    assert not {tokenizer.special('<s>'), tokenizer.special('</s>')} & set(ids)
    assert tokenizer.decode(ids).strip() == 'end it </s> now <s>'


@pytest.mark.parametrize('text', ['Is the door open?', 'naïve 猫 🤖', 'a\tb\nc', '  two  '])
def test_any_text_survives_the_tokenizer(text):
    tokenizer = Tokenizer(demo_model() / 'llm')
    assert tokenizer.decode(tokenizer.encode(text)).removeprefix(' ') == text.removeprefix(' ')
