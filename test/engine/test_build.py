# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The build cache finds what was made of the same content, and only what is complete."""
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nanovlm_ros.engine import build
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import LlamaShape
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.models.templates import VICUNA_V1
from nanovlm_ros.types import ErrorCode, NanoVlmError

HIDDEN, VOCAB = 32, 32
LLM = {'hidden_size': HIDDEN, 'intermediate_size': 32, 'num_hidden_layers': 1,
       'num_attention_heads': 2, 'vocab_size': VOCAB, 'rms_norm_eps': 1e-5,
       'max_position_embeddings': 64, 'model_type': 'llama'}
SHAPE = LlamaShape(hidden=HIDDEN, intermediate=32, layers=1, q_heads=2, kv_heads=2, head_dim=16,
                   vocab=VOCAB, norm_eps=1e-5, quantization=QUANTIZATIONS['q0f32'])
Q4 = QUANTIZATIONS['q4f16_1']


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
    return Checkpoint(tmp_path / 'model', {}, LLM, {}, '', VICUNA_V1)


class Steps:
    """Notes the progress that it is told."""

    def __init__(self):
        self.told = []

    def __call__(self, stage, done, total):
        self.told.append((stage, done, total))


def pack(checkpoint, quantization=Q4):
    """Return (packed weights, whether they were packed now)."""
    steps = Steps()
    return build.packed_weights(checkpoint, quantization, steps), bool(steps.told)


def kept(cache, folder):
    return sorted(path.name for path in (cache / folder).iterdir())


def test_weights_are_packed_once_with_progress_to_the_end(checkpoint, cache):
    steps = Steps()
    first = build.packed_weights(checkpoint, Q4, steps)
    total = len(first)
    assert steps.told == [('quantize', n, total) for n in range(1, total + 1)]
    again, packed_again = pack(checkpoint)
    assert not packed_again and first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert first[name].dtype == again[name].dtype
    assert len(kept(cache, 'weights')) == 1


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
    assert not pack(replace(checkpoint, path=tmp_path / 'elsewhere'))[1]


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
    data[-1] ^= 0x40
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert pack(checkpoint)[1], 'the end is one of the samples'


KILLED = '''
import os, signal, sys
from pathlib import Path
from safetensors import numpy as safetensors_numpy
from nanovlm_ros.engine import build
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.models.templates import VICUNA_V1
import json

def half(arrays, path):
    Path(path).write_bytes(b'half')
    os.kill(os.getpid(), signal.SIGKILL)

safetensors_numpy.save_file = half
checkpoint = Checkpoint(Path(sys.argv[1]), {}, json.loads(sys.argv[2]), {}, '', VICUNA_V1)
build.packed_weights(checkpoint, QUANTIZATIONS['q4f16_1'], lambda *_: None)
'''


def test_a_build_that_was_killed_while_it_wrote_leaves_nothing_that_counts(checkpoint, cache):
    done = subprocess.run([sys.executable, '-c', KILLED, str(checkpoint.path), json.dumps(LLM)],
                          check=False)
    assert done.returncode == -9
    left, = kept(cache, 'weights')
    assert (cache / 'weights' / left).read_bytes() == b'half'
    packed, now = pack(checkpoint)
    assert now and packed
    whole = [name for name in kept(cache, 'weights') if name != left]
    assert load_file(cache / 'weights' / whole[0]).keys() == packed.keys()
    assert not pack(checkpoint)[1]


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
    assert len(commands) == 3
    for name in ('_kernel_sources', '_processor'):
        monkeypatch.setattr(build, name, lambda: ['other'])
        assert compiled() and not compiled()
    monkeypatch.setattr(build, 'version', lambda name: '99')
    assert compiled() and not compiled()
    assert len(kept(cache, 'libraries')) == 6


def test_a_broken_compiler_ends_as_a_sentence_with_what_it_said(cache, monkeypatch):
    fake_compiler(monkeypatch, lambda command: (1, '', 'x' * 5000 + '\ncc: no such file\n'))
    with pytest.raises(NanoVlmError) as caught:
        build.library(SHAPE, Steps())
    assert caught.value.code == ErrorCode.MODEL_ERROR
    message = caught.value.message
    assert message.startswith('The language model could not be compiled')
    assert 'C compiler' in message and message.endswith('cc: no such file')
    assert len(message) < 2500 and not kept(cache, 'libraries')


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


@pytest.mark.parametrize('damage', [b'', b'half', None])
def test_damaged_weights_in_the_cache_are_made_again(checkpoint, cache, damage):
    first, _ = pack(checkpoint)
    name, = kept(cache, 'weights')
    path = cache / 'weights' / name
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    again, packed = pack(checkpoint)
    assert packed and first.keys() == again.keys()


def test_the_cache_lies_in_the_home_folder_unless_told_otherwise(monkeypatch, tmp_path):
    assert build.cache_folder() == tmp_path / 'cache'
    monkeypatch.setenv('NANOVLM_CACHE', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert build.cache_folder() == tmp_path / '.cache' / 'nanovlm_ros'
