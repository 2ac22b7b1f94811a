# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong with a published folder, loading it ends as a sentence that names the file.

And nothing that counts is left in the build cache: the whole folder is loaded afterwards.
"""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from families import FAMILIES, clip, tower_tensors
from safetensors.torch import load_file, save_file

from nanovlm_ros.engine import build
from nanovlm_ros.engine.loader import check_same, load, open_checkpoint
from nanovlm_ros.models import hub
from nanovlm_ros.models.layouts import open_model_folder
from nanovlm_ros.models.vision_encoder import VisionEncoder
from nanovlm_ros.types import ErrorCode, NanoVlmError

TOWER = 'clip-vit-large-patch14-336'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty build cache, and no compiler: nothing that is broken comes as far as one."""
    def none(*arguments):
        raise AssertionError('the model was compiled')
    monkeypatch.setattr(build, '_compile', none)
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
    """Every family's folder, written once."""
    made = {}

    def original(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp('originals') / name
            FAMILIES[name].make(made[name])
        return made[name]
    return original


@pytest.fixture
def copy(originals, tmp_path):
    """Return a function that copies a family's folder, with what lies beside it."""
    def copied(name):
        shutil.copytree(originals(name).parent, tmp_path / 'models')
        return tmp_path / 'models' / name
    return copied


def refused(folder, code=ErrorCode.MODEL_ERROR, **options):
    with pytest.raises(NanoVlmError) as caught:
        load(str(folder), quantization='q0f32', **options)
    assert caught.value.code == code
    message = caught.value.message
    assert message.endswith('.') and len(message) > 60, 'a sentence, and what to do'
    return message


def kept(cache):
    """What counts in the cache."""
    return sorted(path.name for path in cache.glob('*/*') if path.name != '.lock')


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensor(path, name, change):
    """Rewrite a safetensors file with one tensor changed; None takes it out."""
    tensors = load_file(path)
    tensor = change(tensors.pop(name))
    save_file(tensors if tensor is None else {**tensors, name: tensor}, path)


def shard_of(folder, name):
    index = json.loads((folder / 'model.safetensors.index.json').read_text())
    return folder / index['weight_map'][name]


# -- what a folder says -------------------------------------------------------------------------

@pytest.mark.parametrize('name, facts', [
    ('llava-v1.5-7b', ('pad', 'mlp2x_gelu', False, 'clip')),
    ('llava-v1.6-vicuna-7b', ('anyres', 'mlp2x_gelu', False, 'clip_vision_model')),
    ('VILA-2.7b', ('resize', 'mlp2x_gelu', True, 'clip_vision_model')),
    ('VILA-7b', ('pad', 'mlp2x_gelu', True, 'clip_vision_model')),
    ('VILA1.5-3b', ('resize', 'mlp_downsample', True, 'siglip_vision_model')),
    ('Llama-3-VILA1.5-8B', ('resize', 'mlp_downsample', True, 'siglip_vision_model')),
    ('Obsidian-3B-V0.5', ('pad', 'mlp2x_gelu', False, 'clip_vision_model'))])
def test_each_family_is_known_by_its_files(originals, name, facts):
    made = open_model_folder(originals(name), trust_pickle=True)
    assert (made.aspect_ratio, made.projector_type, made.several_images,
            made.vision['model_type']) == facts
    assert made.name == name and made.select_layer == -2
    assert (made.image_newline() is not None) == made.unpad == (facts[0] == 'anyres')


def test_a_model_that_does_not_say_how_images_become_square_was_trained_on_their_middle(copy):
    folder = copy('VILA-7b')
    edit(folder / 'config.json', image_aspect_ratio=None)
    assert open_model_folder(folder).aspect_ratio == 'crop'


@pytest.mark.parametrize('config, several', [
    ({}, False), ({'_name_or_path': '/checkpoints/vila-7b-sft'}, True)])
def test_several_images_are_taken_by_models_that_come_from_vila(copy, config, several):
    folder = copy('VILA-7b')
    edit(folder / 'config.json', **config)
    folder.rename(folder.with_name('robot'))
    assert open_model_folder(folder.with_name('robot')).several_images == several
    assert open_model_folder(folder.with_name('robot'), name='VILA-7b').several_images


@pytest.mark.parametrize('place', ['beside', 'inside', 'absolute'])
def test_a_tower_is_found_beside_the_model_in_it_or_where_its_name_says(copy, place):
    folder = copy('llava-v1.5-7b')
    beside = folder.with_name(TOWER)
    if place == 'inside':
        beside.rename(folder / 'tower')
        edit(folder / 'config.json', mm_vision_tower='tower')
    elif place == 'absolute':
        beside.rename(folder.parent.parent / 'elsewhere')
        edit(folder / 'config.json', mm_vision_tower=str(folder.parent.parent / 'elsewhere'))
    made = open_model_folder(folder, trust_pickle=True)
    assert VisionEncoder(made).tokens(20, 30) == 16


def test_the_tuned_tower_inside_goes_before_the_published_one_beside(copy):
    folder = copy('VILA-7b')
    before = open_model_folder(folder).vision_weights().all()
    other = tower_tensors(clip(), torch.float32)
    folder.with_name(TOWER).mkdir()
    (folder.with_name(TOWER) / 'config.json').write_text(json.dumps(clip().config.to_dict()))
    save_file(other, folder.with_name(TOWER) / 'model.safetensors')
    after = open_model_folder(folder).vision_weights().all()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_tower_that_is_nowhere_is_asked_for_by_its_name(copy, originals):
    folder = copy('llava-v1.5-7b')
    shutil.rmtree(folder.with_name(TOWER))
    asked = []

    def find(name):
        asked.append(name)
        return originals('llava-v1.5-7b').with_name(TOWER)
    made = open_model_folder(folder, trust_pickle=True, find_tower=find)
    assert asked == [f'openai/{TOWER}'] and VisionEncoder(made).tokens(9, 9) == 16


# -- files that are missing or broken -----------------------------------------------------------

@pytest.mark.parametrize('name', ['llava-v1.6-vicuna-7b', 'VILA1.5-3b', 'llava-v1.5-7b',
                                  'Obsidian-3B-V0.5'])
@pytest.mark.parametrize('damage', ['half', 'gone', 'empty'])
def test_a_weights_file_that_is_not_whole_is_named(copy, cache, name, damage):
    folder = copy(name)
    path = sorted(path for path in folder.rglob('*')
                  if path.suffix in ('.safetensors', '.bin') and 'model' in path.stem
                  and 'mm_projector' not in str(path.relative_to(folder)))[0]
    if damage == 'gone':
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2 * (damage == 'half')])
    message = refused(folder, trust_pickle=True)
    single = name == 'Obsidian-3B-V0.5' and damage == 'gone'  # nothing says how it was called
    assert str(folder if single else path) in message and 'et ' in message
    assert not kept(cache)


@pytest.mark.parametrize('name, tensor', [
    ('llava-v1.6-vicuna-7b', 'model.layers.2.mlp.down_proj.weight'),
    ('llava-v1.6-vicuna-7b', 'model.mm_projector.2.bias'),
    ('VILA-7b', 'model.vision_tower.vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight'),
    ('llava-v1.6-vicuna-7b', 'model.image_newline')])
@pytest.mark.parametrize('change, said', [
    (lambda t: None, ['missing', 'lacks']), (lambda t: t.to(torch.int8), ['int8']),
    (lambda t: torch.cat([t, t]), ['shape'])])
def test_a_tensor_that_is_missing_or_of_another_type_or_shape_is_named(
        copy, cache, name, tensor, change, said):
    folder = copy(name)
    path = shard_of(folder, tensor)
    change_tensor(path, tensor, change)
    message = refused(folder)
    assert tensor.split('vision_model.')[-1].removeprefix('model.mm_projector.').removeprefix(
        'model.') in message or tensor in message
    assert any(word in message for word in said) and str(folder) in message
    assert not kept(cache)


def test_a_vila15_tensor_of_another_shape_is_named_with_its_part(copy, cache):
    folder = copy('VILA1.5-3b')
    change_tensor(folder / 'mm_projector' / 'model.safetensors', 'layers.2.weight',
                  lambda t: t[:, :-1].contiguous())
    message = refused(folder)
    assert str(folder / 'mm_projector' / 'model.safetensors') in message and "'2.weight'" in message
    assert not kept(cache)


@pytest.mark.parametrize('name, file', [
    ('llava-v1.6-vicuna-7b', 'tokenizer.model'), ('VILA1.5-3b', 'llm/tokenizer.model'),
    ('Llama-3-VILA1.5-8B', 'llm/tokenizer.json'), ('Obsidian-3B-V0.5', 'tokenizer.json')])
def test_a_tokenizer_that_is_missing_or_cut_short_is_named_before_any_work(
        copy, cache, name, file):
    folder = copy(name)
    path = folder / file
    path.write_bytes(path.read_bytes()[:900])
    assert str(path) in refused(folder, trust_pickle=True)
    path.unlink()
    message = refused(folder, trust_pickle=True)
    assert str(path.parent) in message and 'tokenizer.model' in message
    assert not kept(cache)


# -- what is refused ----------------------------------------------------------------------------

@pytest.mark.parametrize('changes, said', [
    ({'model_type': 'qwen2_vl'}, "'qwen2_vl'"), ({'image_aspect_ratio': 'dynamic'}, "'dynamic'"),
    ({'mm_projector_type': 'ldpnet'}, "'ldpnet'"), ({'mm_use_im_start_end': True}, 'im_start_end'),
    ({'s2': True}, 's2'), ({'mm_vision_select_layer': -9}, '-9'),
    ({'mm_patch_merge_type': 'maxpool2x2'}, "'maxpool2x2'"),
    ({'rope_scaling': {'type': 'linear', 'factor': 2.0}}, 'linear'),
    ({'num_attention_heads': None}, 'num_attention_heads')])
def test_an_architecture_that_is_not_known_is_refused_by_name(copy, cache, changes, said):
    folder = copy('llava-v1.6-vicuna-7b')
    edit(folder / 'config.json', **changes)
    message = refused(folder)
    assert said in message
    assert not kept(cache)


@pytest.mark.parametrize('name', ['llava-v1.5-7b', 'Obsidian-3B-V0.5'])
def test_pickles_are_read_only_with_trust(copy, cache, name):
    folder = copy(name)
    message = refused(folder)
    assert str(folder) in message and '.bin' in message
    assert 'trust_pickle' in message and 'safetensors' in message
    assert not kept(cache)


def test_the_pickle_of_a_tower_needs_trust_too(copy, cache):
    folder = copy('llava-v1.5-7b')
    tensors = {name: tensor for path in folder.glob('*.bin')
               for name, tensor in torch.load(path, weights_only=True).items()}
    for path in folder.glob('pytorch_model*'):
        path.unlink()
    save_file(tensors, folder / 'model.safetensors')
    message = refused(folder)
    assert str(folder.with_name(TOWER)) in message and 'trust_pickle' in message


def test_without_its_tower_and_offline_llava_15_says_what_to_fetch(copy, monkeypatch, tmp_path):
    folder = copy('llava-v1.5-7b')
    shutil.rmtree(folder.with_name(TOWER))
    monkeypatch.setattr(hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    message = refused(folder, trust_pickle=True)
    assert f'openai/{TOWER}' in message and 'HF_HUB_OFFLINE' in message
    with pytest.raises(NanoVlmError, match=f'Put that model into {folder.with_name(TOWER)}'):
        open_model_folder(folder, trust_pickle=True)


def test_a_folder_or_name_that_is_none_is_told(tmp_path, monkeypatch):
    assert str(tmp_path / 'none') in refused(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    assert str(tmp_path / 'empty' / 'config.json') in refused(tmp_path / 'empty')


def test_a_context_beyond_the_training_is_refused_with_both_numbers(copy):
    message = refused(copy('VILA1.5-3b'), ErrorCode.INVALID_REQUEST, context_length=513)
    assert '513' in message and '512' in message


@pytest.mark.parametrize('template, said', [
    ('llama_3', "'<|"), ('chatml', "'chatml'"), ('none.json', 'none.json')])
def test_a_template_of_another_model_is_refused_before_any_work(copy, cache, template, said):
    folder = copy('VILA1.5-3b')
    with pytest.raises(NanoVlmError) as caught:
        load(str(folder), chat_template=template)
    assert said in caught.value.message and not kept(cache)


# -- the cache ----------------------------------------------------------------------------------

def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(copy, cache):
    folder = copy('VILA1.5-3b')
    cache.write_text('a file where the folder should be')
    message = refused(folder)
    assert str(cache) in message and 'NANOVLM_CACHE' in message


FULL = '''
import resource, sys
from nanovlm_ros.engine.loader import load
from nanovlm_ros.types import NanoVlmError

resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
try:
    load(sys.argv[1], quantization='q0f32')
except NanoVlmError as error:
    print(error.message)
'''


def test_a_disk_that_is_full_is_told_and_costs_only_that_start(copy, cache):
    folder = copy('VILA1.5-3b')
    done = subprocess.run([sys.executable, '-c', FULL, str(folder)], check=True,
                          capture_output=True, text=True, cwd=Path(build.__file__).parents[2])
    assert str(cache) in done.stdout and 'Make room' in done.stdout
    assert all(name.endswith('.part') for name in kept(cache))
    with pytest.raises(AssertionError, match='was compiled'):  # which is what comes next
        load(str(folder), quantization='q0f32')
    assert [name for name in kept(cache) if not name.endswith('.part')]


def test_a_read_only_cache_is_named(copy, monkeypatch):
    monkeypatch.setenv('NANOVLM_CACHE', '/proc/nanovlm')  # where root may not write either
    message = refused(copy('VILA1.5-3b'))
    assert '/proc/nanovlm' in message and 'NANOVLM_CACHE' in message


def test_a_hub_name_that_is_no_folder_goes_to_the_hub(monkeypatch, originals):
    fetched = []

    def fetch(name, revision, progress, vision_tower=False):
        fetched.append((name, revision, vision_tower))
        return originals('VILA-7b')
    monkeypatch.setattr(hub, 'fetch_model', fetch)
    made = open_checkpoint('Efficient-Large-Model/VILA-7b', 'v1')
    assert fetched == [('Efficient-Large-Model/VILA-7b', 'v1', False)]
    assert made.name == 'VILA-7b' and made.several_images


@pytest.mark.parametrize('changes', [
    {'mm_projector_type': None}, {'mm_vision_select_layer': None}, {'rope_scaling': 'x'},
    {'image_grid_pinpoints': 'x'}, {'architectures': 7}, {'image_aspect_ratio': ['pad']}])
def test_values_of_the_wrong_kind_are_a_sentence(copy, changes):
    folder = copy('llava-v1.6-vicuna-7b')
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert str(folder) in refused(folder)


def test_a_snapshot_of_a_hub_is_called_as_its_repository(copy, tmp_path):
    folder = copy('VILA-7b')
    snapshot = tmp_path / 'models--Efficient-Large-Model--VILA-7b' / 'snapshots' / ('0' * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    checkpoint = open_model_folder(snapshot)
    assert checkpoint.name == 'VILA-7b' and checkpoint.several_images


def test_square_is_the_processors_own_crop(copy):
    folder = copy('VILA-7b')
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'image_aspect_ratio': 'square'}))
    assert open_model_folder(folder).aspect_ratio == 'crop'


def test_mlc_weights_of_another_model_are_refused(originals):
    checkpoint = open_checkpoint(str(originals('VILA1.5-3b')))
    check_same(checkpoint, checkpoint.llm, 'weights')
    with pytest.raises(NanoVlmError, match='of another model'):
        check_same(checkpoint, {**checkpoint.llm, 'vocab_size': 64}, 'weights')
