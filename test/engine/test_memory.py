# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model needs is counted right, told, and refused with numbers where it does not fit."""
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from nanovlm_ros.engine import memory
from nanovlm_ros.engine.loader import load
from nanovlm_ros.engine.memory import Needed, available, check_memory, needed
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.published import PUBLISHED, configured
from nanovlm_ros.types import ErrorCode, NanoVlmError

GIB = 1 << 30
# Numbers in matrices and in norms: what the published index files count, without the tower.
LLAMA_7B = 2 * 32000 * 4096 + 32 * (4 * 4096 ** 2 + 3 * 4096 * 11008), 65 * 4096
LLAMA_13B = 2 * 32000 * 5120 + 40 * (4 * 5120 ** 2 + 3 * 5120 * 13824), 81 * 5120
LLAMA_3_8B = (2 * 128256 * 4096 + 32 * (2 * 4096 ** 2 + 2 * 4096 * 1024 + 3 * 4096 * 14336),
              65 * 4096)
STABLELM_3B = 2 * 50304 * 2560 + 32 * (4 * 2560 ** 2 + 3 * 2560 * 6912), 2 * 65 * 2560
SHEARED = 2 * 32000 * 2560 + 32 * (4 * 2560 ** 2 + 3 * 2560 * 6912), 65 * 2560
# The layers of CLIP-L/336 up to the last but one, and what comes before them.
CLIP = 23 * (4 * 1024 ** 2 + 2 * 1024 * 4096 + 9 * 1024 + 4096) + (
    3 * 14 ** 2 + 1 + 577 + 2) * 1024
SIGLIP_SO400M = 26 * (4 * 1152 ** 2 + 2 * 1152 * 4304 + 9 * 1152 + 4304) + (
    3 * 14 ** 2 + 1 + 729) * 1152


def full_size(name):
    return configured(PUBLISHED[name])


def test_seven_billion_parameters_are_seven():
    assert sum(LLAMA_7B) == 6_738_415_616 and sum(LLAMA_13B) == 13_015_864_320
    assert sum(LLAMA_3_8B) == 8_030_261_248 and sum(STABLELM_3B) == 2_795_443_200


@pytest.mark.parametrize('name, numbers, row', [
    ('llava-v1.5-7b', LLAMA_7B, 2 * 32 * 4096), ('llava-v1.5-13b', LLAMA_13B, 2 * 40 * 5120),
    ('Llama-3-VILA1.5-8B', LLAMA_3_8B, 2 * 32 * 1024),
    ('Obsidian-3B-V0.5', STABLELM_3B, 2 * 32 * 2560), ('VILA1.5-3b', SHEARED, 2 * 32 * 2560)])
@pytest.mark.parametrize('quantization, matrix, vector', [
    ('q4f16_1', 4.5 / 8, 2), ('q4f32_1', 5 / 8, 4), ('q0f16', 2, 2), ('q0f32', 4, 4)])
def test_weights_and_cache_of_a_model_of_full_size(
        name, numbers, row, quantization, matrix, vector):
    checkpoint = full_size(name)
    wanted = needed(checkpoint, checkpoint.shape(QUANTIZATIONS[quantization]), 5000, Placement())
    assert wanted.weights == matrix * numbers[0] + vector * numbers[1]
    assert wanted.row == row * (2 if 'f16' in quantization else 4) and wanted.slots == 5000


def test_a_tied_head_is_a_copy():
    checkpoint = full_size('VILA1.5-3b')
    tied = replace(checkpoint, llm={**checkpoint.llm, 'tie_word_embeddings': True})
    shape = checkpoint.shape(QUANTIZATIONS['q4f16_1'])
    assert needed(tied, shape, 9, Placement()) == needed(checkpoint, shape, 9, Placement())


@pytest.mark.parametrize('name, numbers', [
    ('llava-v1.5-7b', CLIP + 1024 * 4096 + 4096 + 4096 ** 2 + 4096),
    ('VILA1.5-3b', SIGLIP_SO400M + 2 * 4608 + 4608 * 2560 + 2560 + 2560 ** 2 + 2560)])
def test_the_tower_and_the_projector_count_as_far_as_they_are_loaded(name, numbers):
    checkpoint = full_size(name)
    wanted = needed(checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), 0, Placement())
    assert wanted.vision == 4 * numbers


@pytest.mark.parametrize('device, size', [('cpu', 4), ('cuda', 2)])
def test_in_int8_a_matrix_counts_34_bytes_for_32_inputs_the_last_ones_too(device, size):
    checkpoint = full_size('VILA1.5-3b')
    place = Placement.on(torch.device(device), linear=lambda matrix: matrix)
    wanted = needed(checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), 0, place)
    matrices = 26 * (4 * 1152 ** 2 + 2 * 1152 * 4304) + 2560 * (4608 + 2560)
    groups = 26 * (4 * 1152 * 36 + 4304 * 36 + 1152 * 135) + 2560 * (144 + 80)
    others = SIGLIP_SO400M + 2 * 4608 + 2 * 2560 + 2560 * (4608 + 2560) - matrices
    assert wanted.vision == 34 * groups + size * others


def test_llava_7b_is_told_in_words(caplog, monkeypatch):
    monkeypatch.setattr(memory, 'available', lambda: 64 * GIB)
    checkpoint = full_size('llava-v1.5-7b')
    with caplog.at_level(logging.INFO):
        check_memory('llava-v1.5-7b', needed(
            checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), 4096, Placement()))
    said = caplog.messages[0]
    # 6.74e9 x 0.5625 bytes; 512 KiB a token; 312 million numbers of float32.
    assert '3.53 GiB of weights' in said and '2.00 GiB of KV cache (4096 tokens' in said
    assert '500.0 MiB per 1,000' in said and '1.16 GiB for vision' in said
    # Eight images of 576 rows of 4096 float32 are kept.
    assert '72.0 MiB for images' in said
    assert said.startswith('llava-v1.5-7b needs 7.35 GiB of memory:')


def test_the_images_that_are_kept_count_by_the_largest():
    tiles = {'image_aspect_ratio': 'anyres', 'mm_patch_merge_type': 'spatial_unpad',
             'image_grid_pinpoints': [[336, 672], [672, 672], [1008, 336]]}
    checkpoint = replace(full_size('llava-v1.5-7b'), config=tiles)
    wanted = needed(checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), 1, Placement())
    assert wanted.images == 8 * (24 * 24 + 48 * 49) * 4096 * 4


def test_a_model_that_does_not_fit_is_refused_with_both_figures(monkeypatch):
    monkeypatch.setattr(memory, 'available', lambda: 4 * GIB)
    small = Needed(weights=2 * GIB, row=1 << 10, slots=1 << 10, vision=GIB, images=0)
    large = Needed(weights=3 * GIB, row=1 << 20, slots=1 << 10, vision=GIB, images=0)
    check_memory('small', small)
    with pytest.raises(NanoVlmError) as caught:
        check_memory('large', large)
    assert caught.value.code == ErrorCode.OUT_OF_MEMORY
    message = caught.value.message
    assert 'GPU' not in message and message.endswith('end other programs.')
    assert 'large needs 5.59 GiB of memory and 4.00 GiB are free' in message
    assert '3.00 GiB of weights' in message and 'context_length' in message
    monkeypatch.setattr(memory, 'available', lambda: None)  # nobody knows: it is tried
    check_memory('large', large)


def test_loading_is_refused_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(memory, 'available', lambda: 1 << 20)
    with pytest.raises(NanoVlmError, match='demo_model needs .* and 1.0 MiB are free'):
        load(device='cpu')
    assert not (tmp_path / 'cache').exists()


def write_group(folder, limit, usage, statistics=''):
    folder.mkdir(exist_ok=True)
    paths = [folder / name for name in ('limit', 'usage', 'statistics')]
    for path, content in zip(paths, (limit, usage, statistics)):
        path.write_text(str(content))
    return (*paths, '')


def test_free_memory_is_that_of_the_machine_or_of_its_control_group(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, 'MEMINFO', tmp_path / 'meminfo')
    monkeypatch.setattr(memory, 'GROUPS', ())
    assert available() is None
    (tmp_path / 'meminfo').write_text('MemTotal: 9 kB\nMemAvailable:    8388608 kB\n')
    assert available() == 8 * GIB
    monkeypatch.setattr(memory, 'GROUPS', (
        write_group(tmp_path / 'none', 'max\n', 5 * GIB),
        write_group(tmp_path / 'group', 6 * GIB, 5 * GIB,
                    f'anon 1\ninactive_file {GIB}\nactive_file {2 * GIB}\n')))
    assert available() == 4 * GIB, 'cached files give way'


def test_this_machine_tells():
    assert 1 << 20 < available() < 1 << 50


def on_gpu(checkpoint, quantization='q4f16_1', slots=4096):
    return needed(checkpoint, checkpoint.shape(QUANTIZATIONS[quantization]).on('cuda'),
                  slots, Placement.on(torch.device('cuda')))


def fake_gpu(monkeypatch, free, integrated=False):
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (free, 80 * GIB))
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'get_device_properties',
                        lambda number: SimpleNamespace(is_integrated=int(integrated)))


@pytest.mark.parametrize('name, numbers', [
    ('llava-v1.5-7b', 2 * 11008 * 4096), ('Llama-3-VILA1.5-8B', 2 * 14336 * 4096),
    ('Obsidian-3B-V0.5', 2 * 6912 * 2560)])
def test_on_a_gpu_vision_counts_half_and_a_prompt_needs_the_largest_matrix(name, numbers):
    checkpoint = full_size(name)
    cpu = needed(checkpoint, checkpoint.shape(QUANTIZATIONS['q4f16_1']), 4096, Placement())
    gpu = on_gpu(checkpoint)
    assert 2 * gpu.vision == cpu.vision and not cpu.filling
    assert (gpu.weights, gpu.row, gpu.slots, 2 * gpu.images) == cpu[:3] + (cpu.images,)
    written_out = gpu.filling - on_gpu(checkpoint, 'q0f16').filling  # which is float16 already
    assert written_out == 2 * numbers and 64 << 20 < gpu.filling - written_out < 512 << 20


def test_a_small_model_too_has_a_cache_of_float16_on_a_gpu():
    checkpoint = full_size('llava-v1.5-7b')
    small = replace(checkpoint, llm={**checkpoint.llm, 'hidden_size': 512,
                                     'num_attention_heads': 4, 'num_key_value_heads': 4})
    assert on_gpu(small).row * 2 == needed(
        small, small.shape(QUANTIZATIONS['q4f16_1']), 1, Placement()).row


def test_a_model_for_the_gpu_is_measured_against_the_gpu_alone(monkeypatch, caplog):
    fake_gpu(monkeypatch, 8 * GIB)
    monkeypatch.setattr(memory, 'available', lambda: 1 << 20)
    wanted = on_gpu(full_size('llava-v1.5-7b'))
    with caplog.at_level(logging.INFO):
        check_memory('llava', wanted)
    assert f'llava needs {memory.size(wanted.total)} of GPU memory: 3.53 GiB' in caplog.text
    assert f'{memory.size(wanted.filling)} for filling prompts' in caplog.text
    fake_gpu(monkeypatch, 4 * GIB)
    with pytest.raises(NanoVlmError) as caught:
        check_memory('llava', wanted)
    assert caught.value.code == ErrorCode.OUT_OF_MEMORY
    assert 'of GPU memory and 4.00 GiB are free' in caught.value.message
    assert caught.value.message.endswith('or set device to cpu.')


def test_a_gpu_that_shares_the_memory_of_the_machine_has_what_both_have(monkeypatch):
    fake_gpu(monkeypatch, 8 * GIB, integrated=True)
    for there, least in ((2 * GIB, 2 * GIB), (9 * GIB, 8 * GIB), (None, 8 * GIB)):
        monkeypatch.setattr(memory, 'available', lambda: there)
        assert memory.available_on_gpu() == least
