# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Conversion changes no value, goes on after a kill, and never leaves half a folder."""
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import plain
import pytest
import torch
from decoders import HIDDEN, VOCAB, checkpoint_tensors, small_shape, write_folder

from nanovlm_ros.engine.loader import demo_model
from nanovlm_ros.mlc import convert, mlc_writer
from nanovlm_ros.mlc.kernels.cpu import layout as cpu_layout
from nanovlm_ros.mlc.convert import check_sources, convert_decoder, write_weights
from nanovlm_ros.mlc.mlc_folder import MlcFolder
from nanovlm_ros.mlc.mlc_layout import decoder_groups, stored_parameters
from nanovlm_ros.mlc.mlc_writer import MlcWriter
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.repack import PackedWeights
from nanovlm_ros.models.layouts import open_model_folder
from nanovlm_ros.models.weights import open_weights
from nanovlm_ros.types import ErrorCode, NanoVlmError

TENSORS = checkpoint_tensors()
SHARD = mlc_writer.SHARD
SMALL_SHARD = 4000  # bytes: many shards, and tensors larger than one


def whole_matrices(shape, read, tied=False):
    """The library's parameters in the plain way."""
    def linear(name, *sources, layout=plain.matrix):
        weight = np.concatenate([read(f'{source}.weight') for source in sources])
        return {f'{name}.{part}': array
                for part, array in layout(weight, shape.quantization).items()}

    made = linear('embedding', 'model.embed_tokens', layout=plain.table)
    for i in range(shape.layers):
        ours, theirs = f'layers.{i}.', f'model.layers.{i}.'
        made |= {ours + 'attention_norm.weight': read(theirs + 'input_layernorm.weight'),
                 ours + 'mlp_norm.weight': read(theirs + 'post_attention_layernorm.weight'),
                 **linear(ours + 'qkv', *(f'{theirs}self_attn.{p}_proj' for p in 'qkv')),
                 **linear(ours + 'attention_out', theirs + 'self_attn.o_proj'),
                 **linear(ours + 'gate_up', theirs + 'mlp.gate_proj', theirs + 'mlp.up_proj'),
                 **linear(ours + 'down', theirs + 'mlp.down_proj')}
    return {**made, 'norm.weight': read('model.norm.weight'),
            **linear('head', 'model.embed_tokens' if tied else 'lm_head')}


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def refused(call, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


@pytest.fixture(params=[None, 7], ids=['', 'small blocks'])
def blocks(request, monkeypatch):
    """Also with blocks that do not divide the matrices."""
    if request.param:
        monkeypatch.setattr(convert, 'BLOCK', request.param * HIDDEN)
        monkeypatch.setattr(cpu_layout, 'BLOCK', 16 * request.param)


@pytest.mark.parametrize('name', QUANTIZATIONS)
def test_every_parameter_of_the_demo_model_is_as_the_plain_way_makes_it(tmp_path, name):
    checkpoint = open_model_folder(demo_model())
    weights = open_weights(demo_model() / 'llm')
    shape = checkpoint.shape(QUANTIZATIONS[name])
    groups = decoder_groups(shape, checkpoint.tied)
    with MlcWriter(tmp_path / 'mlc', stored_parameters(groups)) as writer:
        write_weights(groups, shape.quantization, weights.floats, writer, lambda *_: None)
        writer.publish({})
    packed = PackedWeights(MlcFolder(tmp_path / 'mlc'), shape, checkpoint.tied)
    expected = whole_matrices(shape, weights.array)
    assert list(packed) == shape.parameter_names() and len(packed) == len(expected)
    for parameter, array in expected.items():
        assert packed[parameter].dtype == array.dtype
        np.testing.assert_array_equal(packed[parameter], array, err_msg=parameter)


@pytest.mark.parametrize('tied', [False, True])
@pytest.mark.parametrize('name', QUANTIZATIONS)
def test_blocks_and_shards_of_any_size_make_the_same_parameters(
        tmp_path, monkeypatch, blocks, name, tied):
    monkeypatch.setattr(mlc_writer, 'SHARD', SMALL_SHARD)
    shape = small_shape(name)
    # Norms as a checkpoint has them: float16 holds them without loss.
    tensors = {key: t if t.ndim == 2 else t.astype(np.float16).astype(np.float32)
               for key, t in TENSORS.items() if not (tied and key == 'lm_head.weight')}
    folder = MlcFolder(write_folder(tmp_path / 'mlc', shape, tensors, tied))
    folder.verify()
    assert len(folder.shards) > 10
    packed = PackedWeights(folder, shape, tied)
    for parameter, array in whole_matrices(shape, tensors.__getitem__, tied).items():
        np.testing.assert_array_equal(packed[parameter], array, err_msg=parameter)
    assert not tied or not any(n.startswith('lm_head') for n in folder.names)


def test_a_shard_is_small_unless_one_tensor_is_larger(tmp_path, monkeypatch):
    monkeypatch.setattr(mlc_writer, 'SHARD', SMALL_SHARD)
    folder = MlcFolder(write_folder(tmp_path / 'mlc', small_shape(), TENSORS))
    held = {shard.path: [n for n in folder.names if folder.record(n).path == shard.path]
            for shard in folder.shards}
    assert all(len(held[shard.path]) == 1 for shard in folder.shards if shard.nbytes > SMALL_SHARD)
    assert any(len(names) > 1 for names in held.values())
    assert SHARD == 32 << 20, "MLC's own"


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_every_float_type_are_converted(dtype):
    stored = {name: torch.from_numpy(tensor).to(dtype) for name, tensor in TENSORS.items()}
    shape = small_shape('q4f32_1')
    expected = whole_matrices(shape, lambda name: stored[name].float().numpy())
    for name, array in convert_decoder(shape, stored.__getitem__, tied=False):
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_progress_counts_bytes_to_the_end(tmp_path):
    told = []
    groups = decoder_groups(small_shape(), False)
    with MlcWriter(tmp_path / 'mlc', stored_parameters(groups)) as writer:
        write_weights(groups, small_shape().quantization, TENSORS.__getitem__, writer,
                      lambda *step: told.append(step))
        writer.publish({})
    total = (tmp_path / 'mlc' / 'params_shard_0.bin').stat().st_size
    done = [step[0] for step in told]
    assert done == sorted(done) and told[0] == (0, total) and told[-1] == (total, total)


# -- killed, and gone on with -------------------------------------------------------------------

KILLED = '''
import os, signal, sys
from pathlib import Path
from decoders import checkpoint_tensors, small_shape, write_folder
from nanovlm_ros.mlc import mlc_writer

mlc_writer.SHARD = int(sys.argv[2])
calls, place, real = [], sys.argv[3], os.fsync

def fsync(handle):
    calls.append(handle)
    if len(calls) == int(place):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
write_folder(Path(sys.argv[1]), small_shape(), checkpoint_tensors())
'''


def kill_at(path, sync):
    """Convert in a process that dies at its n-th fsync; return whether it did."""
    places = [str(Path(__file__).parent), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, '-c', KILLED, str(path), str(SMALL_SHARD), str(sync)], check=False,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(places)})
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.parametrize('sync', [1, 2, 9, 20])
def test_a_killed_conversion_is_gone_on_with_to_the_same_bytes(tmp_path, monkeypatch, sync):
    monkeypatch.setattr(mlc_writer, 'SHARD', SMALL_SHARD)
    whole = contents(write_folder(tmp_path / 'whole', small_shape(), TENSORS))
    path = tmp_path / 'mlc'
    assert kill_at(path, sync)
    assert not path.exists(), 'what is not complete does not count'
    kept = {file: file.stat().st_ino for file in (tmp_path / 'mlc.part').glob('*.bin')}
    read = set()

    def watched(name):
        read.add(name)
        return TENSORS[name]
    groups = decoder_groups(small_shape(), False)
    with MlcWriter(path, stored_parameters(groups)) as writer:
        complete = sync // 2  # a shard and its line in the journal are synced one by one
        assert len(writer._finished) == complete <= len(kept)
        resumed_at = writer.done_bytes
        write_weights(groups, small_shape().quantization, watched, writer, lambda *_: None)
        writer.publish({})
    for name in ('tensor-cache.json', *(n for n in whole if n.endswith('.bin'))):
        assert (path / name).read_bytes() == whole[name]
    for i in range(complete):
        assert (path / f'params_shard_{i}.bin').stat().st_ino == kept[
            tmp_path / 'mlc.part' / f'params_shard_{i}.bin'], 'kept, not made again'
    assert (resumed_at > 0) == (complete > 0)
    assert ('model.embed_tokens.weight' in read) == (complete < 2)
    assert sorted(contents(path)) == sorted(whole) and not (tmp_path / 'mlc.part').exists()


def test_a_conversion_killed_anywhere_leaves_nothing_that_counts_until_it_is_whole(tmp_path):
    syncs = 1
    while kill_at(tmp_path / 'mlc', syncs):
        assert not (tmp_path / 'mlc').exists() or MlcFolder(tmp_path / 'mlc').names
        syncs += 12
    MlcFolder(tmp_path / 'mlc').verify()


@pytest.mark.parametrize('damage', ['cut', 'flip', 'gone', 'journal', 'stray'])
def test_shards_are_kept_only_if_they_are_what_they_were(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(mlc_writer, 'SHARD', SMALL_SHARD)
    whole = contents(write_folder(tmp_path / 'whole', small_shape(), TENSORS))
    assert kill_at(tmp_path / 'mlc', 13)
    part = tmp_path / 'mlc.part'
    shard, journal = part / 'params_shard_2.bin', part / 'shards.jsonl'
    data = bytearray(shard.read_bytes())
    if damage == 'cut':
        shard.write_bytes(data[:-1])
    elif damage == 'flip':
        data[7] ^= 1
        shard.write_bytes(data)
    elif damage == 'gone':
        shard.unlink()
    elif damage == 'journal':
        journal.write_bytes(b''.join(journal.read_bytes().splitlines(True)[:2]) + b'{"d\xff')
    else:
        (part / 'params_shard_99.bin').write_bytes(b'of another plan')
    groups = decoder_groups(small_shape(), False)
    with MlcWriter(tmp_path / 'mlc', stored_parameters(groups)) as writer:
        assert len(writer._finished) == (6 if damage == 'stray' else 2)
        write_weights(groups, small_shape().quantization, TENSORS.__getitem__, writer,
                      lambda *_: None)
        writer.publish({})
    made = contents(tmp_path / 'mlc')
    assert {n: made[n] for n in whole if n.endswith('.bin')} == {
        n: data for n, data in whole.items() if n.endswith('.bin')}
    assert 'params_shard_99.bin' not in made


# -- what can be wrong --------------------------------------------------------------------------

def test_a_tensor_of_another_shape_is_refused_before_anything_is_made():
    tensors = {**TENSORS, 'model.layers.1.mlp.down_proj.weight': np.zeros((64, 97), np.float32)}
    message = refused(check_sources, decoder_groups(small_shape(), False), tensors.__getitem__,
                      lambda name: 'model.safetensors')
    assert "'model.layers.1.mlp.down_proj.weight' in model.safetensors" in message
    assert '[64, 97]' in message and '[64, 96]' in message


@pytest.mark.parametrize('name, value', [
    ('q4f16_1', np.nan), ('q4f16_1', np.inf), ('q4f16_1', 1e6), ('q0f16', 1e6),
    ('q0f32', -np.inf)])
@pytest.mark.parametrize('tensor', ['model.layers.1.mlp.down_proj.weight', 'model.norm.weight'])
def test_numbers_beyond_the_type_are_refused_and_nothing_is_left(tmp_path, name, value, tensor):
    tensors = {**TENSORS, tensor: TENSORS[tensor].copy()}
    tensors[tensor].flat[5] = value
    message = refused(write_folder, tmp_path / 'mlc', small_shape(name), tensors)
    assert repr(tensor) in message and not list(tmp_path.iterdir())


def test_a_matrix_that_the_kernels_cannot_take_is_refused_by_name():
    message = refused(decoder_groups, small_shape(vocab=VOCAB + 1), False)
    assert 'model.embed_tokens.weight' in message and f'{VOCAB + 1} x {HIDDEN}' in message


def test_a_disk_without_room_is_said_before_the_work_and_costs_no_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(mlc_writer, 'SHARD', SMALL_SHARD)
    assert kill_at(tmp_path / 'mlc', 9)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(mlc_writer.shutil, 'disk_usage', lambda path: usage._replace(free=1000))
        message = refused(write_folder, tmp_path / 'mlc', small_shape(), TENSORS)
    assert '0.07 GB' in message and '0.00 GB' in message and 'NANOVLM_CACHE' in message
    assert (tmp_path / 'mlc.part' / 'params_shard_3.bin').exists()
    write_folder(tmp_path / 'mlc', small_shape(), TENSORS)
    MlcFolder(tmp_path / 'mlc').verify()


def test_a_write_that_fails_keeps_the_shards_that_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(mlc_writer, 'SHARD', SMALL_SHARD)
    synced = []

    def full(handle):
        synced.append(handle)
        if len(synced) == 9:
            raise OSError(28, 'No space left on device')
    with monkeypatch.context() as patched:
        patched.setattr(mlc_writer.os, 'fsync', full)
        with pytest.raises(OSError):
            write_folder(tmp_path / 'mlc', small_shape(), TENSORS)
    left = sorted(file.name for file in (tmp_path / 'mlc.part').iterdir())
    assert left == [*(f'params_shard_{i}.bin' for i in range(4)), 'shards.jsonl']
    write_folder(tmp_path / 'mlc', small_shape(), TENSORS)
    MlcFolder(tmp_path / 'mlc').verify()
