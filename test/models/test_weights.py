# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors are found in whatever files hold them, and bad files end as a sentence."""
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nanovlm_ros.models import weight_files
from nanovlm_ros.models.weights import open_weights
from nanovlm_ros.types import ErrorCode, NanoVlmError


def numbers(*shape, seed=0, dtype=torch.float16):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


FIRST = {'model.layers.0.weight': numbers(4, 3, seed=1), 'model.mm_projector.0.bias': numbers(3)}
SECOND = {'lm_head.weight': numbers(5, 3, seed=2, dtype=torch.bfloat16),
          'position_ids': torch.arange(4)}
SAFE = ('model', 'safetensors', save_file)
PICKLE = ('pytorch_model', 'bin', torch.save)


def write_shards(folder, stem, suffix, save, parts=(FIRST, SECOND), index=True):
    """Write a checkpoint of shards, as it is published; return their paths."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f'{stem}-{i:05}-of-{len(parts):05}.{suffix}'
             for i in range(1, len(parts) + 1)]
    for path, tensors in zip(paths, parts):
        save(tensors, path)
    if index:
        (folder / f'{stem}.{suffix}.index.json').write_text(json.dumps({
            'metadata': {}, 'weight_map': {
                name: path.name for path, tensors in zip(paths, parts) for name in tensors}}))
    return paths


def refused(call, *arguments, **options):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, **options)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'model'


@pytest.mark.parametrize('index', [True, False])
@pytest.mark.parametrize('kind', [SAFE, PICKLE])
def test_every_tensor_of_every_shard_is_there_as_it_is_stored(folder, kind, index):
    paths = write_shards(folder, *kind, index=index)
    weights = open_weights(folder, trust_pickle=True)
    stored = {**FIRST, **SECOND}
    assert weights.names == sorted(stored) and weights.files == paths
    for name, tensor in weights.all().items():
        assert tensor.dtype == stored[name].dtype
        assert torch.equal(tensor, stored[name]) and torch.equal(weights.tensor(name), tensor)
    assert weights.file('lm_head.weight') == paths[1]


def test_arrays_are_float32_also_of_bfloat16(folder):
    write_shards(folder, *SAFE)
    array = open_weights(folder).array('lm_head.weight')
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, SECOND['lm_head.weight'].float().numpy())


def test_a_view_below_a_prefix_has_shorter_names_and_only_its_own(folder):
    paths = write_shards(folder, *SAFE)
    weights = open_weights(folder).below('model.')
    assert weights.names == ['layers.0.weight', 'mm_projector.0.bias']
    assert 'layers.0.weight' in weights and 'lm_head.weight' not in weights
    projector = weights.below('mm_projector.')
    assert torch.equal(projector.all()['0.bias'], FIRST['model.mm_projector.0.bias'])
    assert projector.files == paths[:1]


def test_safetensors_come_before_pickles(folder):
    write_shards(folder, *PICKLE, parts=(SECOND,))
    safe = write_shards(folder, *SAFE, parts=(FIRST,))
    assert open_weights(folder, trust_pickle=True).files == safe


def test_other_files_add_what_the_shards_lack_and_change_nothing(folder):
    write_shards(folder, *SAFE)
    more = {'model.mm_projector.0.bias': torch.zeros(3), 'model.mm_projector.0.weight': FIRST[
        'model.layers.0.weight']}
    torch.save(more, folder / 'mm_projector.bin')
    weights = open_weights(folder, trust_pickle=True, also=['mm_projector.bin', 'absent.bin'])
    assert torch.equal(weights.tensor('model.mm_projector.0.bias'),
                       FIRST['model.mm_projector.0.bias'])
    assert 'model.mm_projector.0.weight' in weights


def test_tensors_are_read_only_when_they_are_asked_for(folder, monkeypatch):
    write_shards(folder, *SAFE)
    read = []
    real = weight_files.safe_open

    class Watched:
        def __init__(self, *arguments, **options):
            self.file = real(*arguments, **options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def keys(self):
            return self.file.keys()

        def get_tensor(self, name):
            read.append(name)
            return self.file.get_tensor(name)
    monkeypatch.setattr(weight_files, 'safe_open', Watched)
    weights = open_weights(folder).below('model.')
    assert not read
    weights.tensor('layers.0.weight')
    assert read == ['model.layers.0.weight']


# -- what can be wrong --------------------------------------------------------------------------

def test_a_pickle_is_not_opened_unless_it_is_trusted(folder):
    path = write_shards(folder, *PICKLE)[0]
    message = refused(open_weights, folder)
    assert str(path) in message and 'trust_pickle' in message and 'safetensors' in message


def test_an_untrusted_pickle_beside_safetensors_is_missed_only_when_it_is_needed(folder):
    write_shards(folder, *SAFE)
    torch.save({'mm.weight': torch.zeros(1)}, folder / 'mm_projector.bin')
    weights = open_weights(folder, also=['mm_projector.bin'])
    message = refused(weights.tensor, 'mm.weight')
    assert 'mm_projector.bin' in message and 'trust_pickle' in message


class Bomb:
    """Runs code when it is unpickled by a careless reader."""

    def __reduce__(self):
        return exec, ("open('exploded', 'w')",)


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.mkdir()
    path = folder / 'pytorch_model.bin'
    torch.save({'weight': Bomb()}, path)
    message = refused(open_weights, folder, trust_pickle=True)
    assert str(path) in message and 'run code' in message
    assert not (tmp_path / 'exploded').exists()
    with zipfile.ZipFile(path) as archive:  # the trap is a real one
        pickle.loads(archive.read('pytorch_model/data.pkl'))
    assert (tmp_path / 'exploded').exists()


def test_an_old_torch_that_can_be_tricked_reads_no_pickle(folder, monkeypatch):
    path = write_shards(folder, *PICKLE)[0]
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    message = refused(open_weights, folder, trust_pickle=True)
    assert str(path) in message and '2.6' in message


@pytest.mark.parametrize('content', [[1.0], {'a': 1}, torch.zeros(2), {'model': {}}])
def test_a_pickle_of_anything_but_named_tensors_is_refused(folder, content):
    folder.mkdir()
    torch.save(content, folder / 'pytorch_model.bin')
    message = refused(open_weights, folder, trust_pickle=True)
    assert 'pytorch_model.bin' in message and 'dictionary of tensors' in message


@pytest.mark.parametrize('kind', [SAFE, PICKLE])
@pytest.mark.parametrize('damage', [
    lambda data: data[:-1], lambda data: data[:len(data) // 2], lambda data: data[:9],
    lambda data: b'', lambda data: b'<html>Not found</html>' * 99])
def test_a_shard_that_was_cut_short_or_is_garbage_is_named(folder, kind, damage):
    path = write_shards(folder, *kind)[1]
    path.write_bytes(damage(path.read_bytes()))
    message = refused(open_weights, folder, trust_pickle=True)
    assert str(path) in message and 'et it again' in message


def test_a_git_lfs_pointer_is_told_from_damage(folder):
    path = write_shards(folder, *SAFE)[0]
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')
    assert 'git lfs pull' in refused(open_weights, folder)


@pytest.mark.parametrize('index', [True, False])
@pytest.mark.parametrize('kind', [SAFE, PICKLE])
def test_a_shard_that_should_be_there_and_is_not_is_named(folder, kind, index):
    paths = write_shards(folder, *kind, index=index)
    paths[0].unlink()
    message = refused(open_weights, folder, trust_pickle=True)
    assert str(paths[0]) in message and 'is missing' in message


def test_an_index_of_another_download_is_refused(folder):
    paths = write_shards(folder, *SAFE)
    save_file({'other': torch.zeros(1)}, paths[1])
    message = refused(open_weights, folder)
    assert str(paths[1]) in message and "'lm_head.weight'" in message


@pytest.mark.parametrize('text', [
    '{', '[]', '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": [1]}',
    '{"weight_map": {"a": "../elsewhere.safetensors"}}'])
def test_a_broken_index_is_named(folder, text):
    write_shards(folder, *SAFE)
    path = folder / 'model.safetensors.index.json'
    path.write_text(text)
    assert str(path) in refused(open_weights, folder)


def test_a_folder_that_is_absent_or_without_weights_is_named(folder):
    assert str(folder) in refused(open_weights, folder)
    folder.mkdir()
    assert 'safetensors' in refused(open_weights, folder)


def test_a_missing_tensor_is_named_with_where_it_was_looked_for(folder):
    write_shards(folder, *SAFE)
    message = refused(open_weights(folder).below('model.').tensor, 'nothing')
    assert "'nothing'" in message and str(folder) in message


@pytest.mark.parametrize('dtype', [torch.int8, torch.float8_e4m3fn, torch.int64])
def test_whole_numbers_and_eight_bit_floats_are_no_weights(folder, dtype):
    path, = write_shards(folder, *SAFE, parts=({'a': torch.zeros(2).to(dtype)},))
    weights = open_weights(folder)
    assert weights.tensor('a').dtype == dtype
    for read in (weights.array, weights.floats):
        message = refused(read, 'a')
        assert str(path) in message and str(dtype)[6:] in message
