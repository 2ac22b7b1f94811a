# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The build cache finds what was made of the same content, and only what is complete."""
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bare import LLM, bare_checkpoint
from safetensors.numpy import save_file

from nanovlm_ros.engine import build
from nanovlm_ros.mlc import mlc_writer
from nanovlm_ros.mlc.mlc_weights import load_mlc_folder
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError

HIDDEN, VOCAB = LLM['hidden_size'], LLM['vocab_size']
SHAPE = DecoderShape(
    hidden=HIDDEN, intermediate=32, layers=1, q_heads=2, kv_heads=2, head_dim=16, vocab=VOCAB,
    norm_eps=1e-5, quantization=QUANTIZATIONS['q0f32'])
Q4 = QUANTIZATIONS['q4f16_1']
HERE = str(Path(__file__).parent)


def tensors(seed=0):
    random = np.random.default_rng(seed)
    layer = 'model.layers.0.'
    names = {f'{layer}self_attn.{p}_proj.weight': (HIDDEN, HIDDEN) for p in 'qkvo'}
    names |= {f'{layer}mlp.{p}_proj.weight': (32, HIDDEN) for p in ('gate', 'up', 'down')}
    names |= {name: (VOCAB, HIDDEN) for name in ('model.embed_tokens.weight', 'lm_head.weight')}
    names |= {name: (HIDDEN,) for name in (
        'model.norm.weight', f'{layer}input_layernorm.weight',
        f'{layer}post_attention_layernorm.weight')}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in names.items()}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def checkpoint(tmp_path):
    """A decoder of one tiny layer, as a checkpoint."""
    (tmp_path / 'model' / 'llm').mkdir(parents=True)
    save_file(tensors(), tmp_path / 'model' / 'llm' / 'model.safetensors')
    return bare_checkpoint(tmp_path / 'model')


class Steps:
    """Notes the progress that it is told."""

    def __init__(self):
        self.told = []

    def __call__(self, stage, done, total):
        self.told.append((stage, done, total))


def pack(checkpoint, quantization=Q4):
    """Return (packed weights, whether they were packed now)."""
    steps = Steps()
    packed = build.packed_weights(checkpoint, checkpoint.shape(quantization), steps)
    return packed, bool(steps.told)


def kept(cache, folder):
    return sorted(path.name for path in (cache / folder).iterdir() if path.name != '.lock')


def test_weights_are_packed_once_with_progress_to_the_end(checkpoint, cache):
    steps = Steps()
    first = build.packed_weights(checkpoint, checkpoint.shape(Q4), steps)
    key, = kept(cache, 'weights')
    total = (cache / 'weights' / key / 'params_shard_0.bin').stat().st_size
    assert {(stage, whole) for stage, _, whole in steps.told} == {('quantize', total)}
    done = [done for _, done, _ in steps.told]
    assert done == sorted(done) and done[0] == 0 and done[-1] == total
    again, packed_again = pack(checkpoint)
    assert not packed_again and first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert first[name].dtype == again[name].dtype
    assert kept(cache, 'weights') == [key]


def test_what_is_kept_is_a_folder_that_mlc_knows(checkpoint, cache):
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (checkpoint.llm_folder / name).write_text('{}')
    packed, _ = pack(checkpoint)
    key, = kept(cache, 'weights')
    loaded = load_mlc_folder(cache / 'weights' / key)
    assert loaded.quantization == Q4 and loaded.llm['max_position_embeddings'] == 64
    again = loaded.packed(replace(checkpoint, llm=loaded.llm).shape(loaded.quantization))
    for name in packed:
        np.testing.assert_array_equal(packed[name], again[name])
    assert loaded.folder.config()['tokenizer_files'] == ['tokenizer.json', 'tokenizer_config.json']
    assert kept(cache, f'weights/{key}') == [
        'mlc-chat-config.json', 'params_shard_0.bin', 'tensor-cache.json', 'tokenizer.json',
        'tokenizer_config.json']


def test_another_quantization_is_another_entry(checkpoint, cache):
    made = [pack(checkpoint, quantization)[1] for quantization in QUANTIZATIONS.values()]
    assert all(made) and len(kept(cache, 'weights')) == len(QUANTIZATIONS)
    assert not pack(checkpoint, Q4)[1]


def test_one_changed_byte_of_the_weights_is_another_entry(checkpoint):
    before, _ = pack(checkpoint)
    path = checkpoint.path / 'llm' / 'model.safetensors'
    data, stat = bytearray(path.read_bytes()), path.stat()
    data[-3] ^= 0x40
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # neither size nor time tell
    after, packed = pack(checkpoint)
    assert packed
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_a_copy_of_the_folder_is_the_same_entry(checkpoint, tmp_path):
    pack(checkpoint)
    shutil.copytree(checkpoint.path, tmp_path / 'elsewhere')
    assert not pack(bare_checkpoint(tmp_path / 'elsewhere'))[1]


def test_a_large_file_is_told_by_samples_size_and_time(checkpoint, monkeypatch):
    monkeypatch.setattr(build, 'WHOLE', 100)
    monkeypatch.setattr(build, 'SAMPLE', 50)
    pack(checkpoint)
    assert not pack(checkpoint)[1]
    path = checkpoint.path / 'llm' / 'model.safetensors'
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert pack(checkpoint)[1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert pack(checkpoint)[1], 'the end is one of the samples'


KILLED = '''
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from bare import bare_checkpoint
from nanovlm_ros.engine import build
from nanovlm_ros.mlc import mlc_writer
from nanovlm_ros.mlc.packing import QUANTIZATIONS

mlc_writer.SHARD = 1000

def kill(stage, done, total):
    if done > total / 2:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint = bare_checkpoint(Path(sys.argv[1]))
build.packed_weights(checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), kill)
'''


def test_a_build_that_was_killed_leaves_nothing_that_counts_and_is_gone_on_with(
        checkpoint, cache, monkeypatch):
    monkeypatch.setattr(mlc_writer, 'SHARD', 1000)
    expected, _ = pack(checkpoint)
    expected = dict(expected)
    shutil.rmtree(cache)
    done = subprocess.run([sys.executable, '-c', KILLED, str(checkpoint.path), HERE],
                          check=False)
    assert done.returncode == -9
    left, = kept(cache, 'weights')
    assert left.endswith('.part')
    steps = Steps()
    packed = build.packed_weights(checkpoint, checkpoint.shape(Q4), steps)
    _, already, total = steps.told[0]
    assert total / 4 < already < total, 'what was made before is not made again'
    assert kept(cache, 'weights') == [left.removesuffix('.part')]
    for name, array in expected.items():
        np.testing.assert_array_equal(packed[name], array)
    assert not pack(checkpoint)[1]


def test_two_processes_that_build_the_same_take_turns(checkpoint, cache):
    (cache / 'weights').mkdir(parents=True)
    with (cache / 'weights' / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        steps, made = Steps(), []
        other = threading.Thread(
            target=lambda: made.append(
                build.packed_weights(checkpoint, checkpoint.shape(Q4), steps)))
        other.start()
        wait_until(lambda: steps.told)
        assert steps.told == [('wait for another conversion', 0, 1)]
        assert not kept(cache, 'weights')
    other.join(30)
    assert made and steps.told[1] == ('wait for another conversion', 1, 1)


def wait_until(true):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_half_written_library_is_not_taken_for_one(cache, monkeypatch):
    commands = fake_compiler(monkeypatch, write_library)
    path = build.library(SHAPE, Steps())
    path.rename(path.with_name(f'{path.stem}.1234.part.so'))
    steps = Steps()
    assert build.library(SHAPE, steps) == path and path.read_bytes() == b'library'
    assert len(commands) == 2 and steps.told == [('compile', 0, 1), ('compile', 1, 1)]
    # It is there now, so nothing is compiled, and nothing is said.
    assert build.library(SHAPE, steps) == path and len(commands) == len(steps.told) == 2
    assert not list(cache.rglob('*.json'))


def fake_compiler(monkeypatch, run):
    """Put a function in the compiler's place; return the list of its commands."""
    commands = []

    def replacement(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, *run(command))
    monkeypatch.setattr(build.subprocess, 'run', replacement)
    return commands


def write_library(command):
    with open(command[-1], 'wb') as file:
        file.write(b'library')
    return 0, '', ''


def test_a_library_depends_on_shape_kernels_processor_and_compiler(cache, monkeypatch):
    commands = fake_compiler(monkeypatch, write_library)

    def compiled():
        before = len(commands)
        build.library(SHAPE, Steps())
        return len(commands) > before
    assert compiled() and not compiled()
    build.library(replace(SHAPE, layers=2), Steps())
    build.library(replace(SHAPE, quantization=Q4), Steps())
    build.companion_library(Steps())
    assert len(commands) == 4
    for name in ('_kernel_sources', '_processor'):
        monkeypatch.setattr(build, name, lambda: ['other'])
        assert compiled() and not compiled()
    monkeypatch.setattr(build, 'version', lambda name: '99')
    assert compiled() and not compiled()
    assert len(kept(cache, 'libraries')) == 7


def test_a_broken_compiler_ends_as_a_sentence_with_what_it_said(cache, monkeypatch):
    fake_compiler(monkeypatch, lambda command: (1, '', 'x' * 5000 + '\ncc: no such file\n'))
    with pytest.raises(NanoVlmError) as caught:
        build.library(SHAPE, Steps())
    assert caught.value.code == ErrorCode.MODEL_ERROR
    message = caught.value.message
    assert message.startswith('The model could not be compiled')
    assert 'C compiler' in message and message.endswith('cc: no such file')
    assert len(message) < 2500 and not kept(cache, 'libraries')
    with pytest.raises(NanoVlmError, match='could not be compiled for cpu'):
        build.companion_library(Steps())


def test_the_real_compiler_without_a_c_compiler_ends_as_a_sentence(cache, monkeypatch, tmp_path):
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    for name in ('CC', 'CXX'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NanoVlmError) as caught:
        build.library(SHAPE, Steps())
    assert 'C compiler' in caught.value.message
    assert not list(cache.rglob('*.so')), 'what failed does not count'


def test_a_cache_folder_that_cannot_be_written_ends_as_a_sentence(cache, checkpoint):
    cache.write_text('a file where the folder should be')
    for make in (lambda: build.library(SHAPE, Steps()), lambda: pack(checkpoint)):
        with pytest.raises(NanoVlmError) as caught:
            make()
        assert caught.value.code == ErrorCode.MODEL_ERROR
        assert str(cache) in caught.value.message and 'NANOVLM_CACHE' in caught.value.message


@pytest.mark.parametrize('name', ['params_shard_0.bin', 'tensor-cache.json'])
@pytest.mark.parametrize('damage', [b'', b'half', None, 'gone'])
def test_damaged_weights_in_the_cache_are_made_again(checkpoint, cache, name, damage):
    first, _ = pack(checkpoint)
    expected = dict(first)
    key, = kept(cache, 'weights')
    path = cache / 'weights' / key / name
    if damage == 'gone':
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    again, packed = pack(checkpoint)
    assert packed and expected.keys() == again.keys() and kept(cache, 'weights') == [key]
    for parameter, array in expected.items():
        np.testing.assert_array_equal(again[parameter], array)


FULL = '''
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from bare import bare_checkpoint
from nanovlm_ros.engine import build
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.types import NanoVlmError

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
checkpoint = bare_checkpoint(Path(sys.argv[1]))
try:
    build.packed_weights(checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), lambda *_: None)
except NanoVlmError as error:
    print(error.message)
'''


def test_a_cache_that_can_take_no_more_bytes_ends_as_a_sentence(checkpoint, cache):
    done = subprocess.run([sys.executable, '-c', FULL, str(checkpoint.path), HERE],
                          check=True, capture_output=True, text=True)
    assert str(cache) in done.stdout and 'Make room' in done.stdout and not done.stderr
    assert all(name.endswith('.part') for name in kept(cache, 'weights'))
    assert pack(checkpoint)[1]


@pytest.mark.parametrize('change, said', [
    (lambda stored: stored.pop('lm_head.weight'), "'lm_head.weight' is missing"),
    (lambda stored: stored.update({'lm_head.weight': np.zeros((VOCAB, HIDDEN), np.int8)}), 'int8'),
    (lambda stored: stored.update({'lm_head.weight': np.zeros((VOCAB, 9), np.float32)}), '[32, 9]'),
    (lambda stored: stored.update({'lm_head.weight': np.full((VOCAB, HIDDEN), np.nan, np.float32)}),
     'not finite')])
def test_a_checkpoint_at_fault_leaves_nothing_in_the_cache(checkpoint, cache, change, said):
    stored = tensors()
    change(stored)
    save_file(stored, checkpoint.path / 'llm' / 'model.safetensors')
    with pytest.raises(NanoVlmError) as caught:
        pack(checkpoint)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    assert said in caught.value.message and 'lm_head.weight' in caught.value.message
    assert not kept(cache, 'weights')


def test_the_cache_lies_in_the_home_folder_unless_told_otherwise(monkeypatch, tmp_path):
    assert build.cache_folder() == tmp_path / 'cache'
    monkeypatch.setenv('NANOVLM_CACHE', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert build.cache_folder() == tmp_path / '.cache' / 'nanovlm_ros'
