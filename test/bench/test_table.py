# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table says what was measured, in columns."""
import pytest

from nanovlm_ros.bench.table import columns, overview, render


def entry(median):
    return {'unit': 'ms', 'median': median, 'min': median / 2, 'max': 2 * median, 'runs': 3}


NUMERICS = {'layers': 2, 'largest_error': 0.1, 'largest_error_torch_float16': 0.2, 'ratio': 0.5,
            'spread_of_logits': 1.5}


def model(name='VILA', rows=256, **more):
    return {
        'name': name, 'quantization': 'q4f16_1', 'weights': 'random', 'device': 'cuda',
        'context': 1024, 'kv_cache_tokens': 2048, 'vision_weights': 'int8', 'load_s': 3.5,
        'notes': [],
        'measured': {'vision': entry(7.5), f'prefill_{rows}': entry(16.0),
                     f'decode_{rows}': entry(2.0), f'batch_4_{rows}': entry(4.0)},
        'memory': {'told_mib': 2000.0, 'gpu_mib': 1900.5, 'resident_mib': 900.0,
                   'in_all_mib': 2800.5},
        'floor': {'weights_mib': 1400.0, 'bandwidth_gb_s': 2000.0, 'ms': 0.5}, **more}


def result(*models, **more):
    return {'command': 'nanovlm bench', 'date': '2026-11-26', 'versions': {'torch': '2.11'},
            'machine': {'cpu': 'a', 'cores': 2, 'gpu': 'NVIDIA H100'},
            'threads': {'tvm': 1, 'torch': 2}, 'models': models, **more}


def test_a_line_has_the_median_the_spread_the_rate_and_the_ratio_to_each_peer():
    peers = {'hf': {'decode_256': entry(5.0)}}
    lines = render(result(model(peers=peers))).splitlines()
    row = next(line for line in lines if line.startswith('decode, context 256')).split()
    assert row[3:] == ['2', 'ms', '1', '4', '500', '5', 'ms', '2.50x']
    row = next(line for line in lines if line.startswith('decode 4 sequences')).split()
    assert row[-2:] == ['1,000', '-'], 'tokens of all sequences'
    row = next(line for line in lines if line.startswith('prefill 256 rows')).split()
    assert '16,000' in row
    assert 'NVIDIA H100' in lines and any('reached: 25%' in line for line in lines)


def test_the_overview_has_a_line_a_model_and_says_why_one_is_missing():
    lines = overview([model(), {'name': 'large', 'error': 'large needs more memory.'},
                      model('other', 128)]).splitlines()
    assert lines[0].split('  ')[-1] == 'of the floor' and 'prefill 256 rows' in lines[0]
    assert lines[1].split() == [
        'VILA', '3.5', 's', '2000.0', '1900.5', '900.0', '7.5', 'ms', '16', 'ms', '2', 'ms',
        '500', '25%']
    assert lines[2] == 'large  large needs more memory.'
    assert lines[3].split()[-4:] == ['-', '-', '-', '-'], 'measured at other rows'


def test_of_several_models_the_overview_is_shown():
    text = render(result(model(), model('other', peers={})))
    assert overview([model(), model('other')]) in text and 'reached' not in text


@pytest.mark.parametrize('more, said', [
    ({'peers': {'hf': {'decode_256': entry(5.0)}}}, '2.50x'),
    ({'numerics': NUMERICS}, 'numerics, 2 layers'),
    ({'memory': {'in_all_mib': 2800.5, 'asked_gb': 4.0, 'fits': True}}, 'of 4 GB: fits')])
def test_what_an_overview_does_not_show_of_a_model_is_below_it(more, said):
    models = [model(), {'name': 'large', 'error': 'large needs more memory.'},
              model('other', **more)]
    above, below = render(result(*models)).split(overview(models))
    assert said not in above and said in below
    assert 'other, q4f16_1' in below and 'VILA' not in below and 'large needs' not in below


@pytest.mark.parametrize('device, quantization, said', [
    ('cpu', 'q4f16_1', 'int8 activations, '), ('cpu', 'q0f32', ''), ('cuda', 'q4f16_1', '')])
def test_activations_are_named_where_there_is_a_choice(device, quantization, said):
    text = render(result(model(
        device=device, quantization=quantization, numerics=NUMERICS,
        shape={'activations': 'int8'})))
    assert f'{device}, {said}vision in int8, context 1024, 2048 tokens of KV cache\n' in text
    assert f'numerics, {said}2 layers' in text


def test_what_else_was_measured_follows():
    text = render(result(model(), node={'idle_cpu_percent': 3.0}, sharing={'one_prompt_ms': 55}))
    assert text.index('one prompt ms') < text.index('idle cpu percent')


@pytest.mark.parametrize('count, said', [(1, '1 sequence'), (4, '4 sequences')])
def test_one_sequence_is_no_plural(count, said):
    text = render(result(model(measured={
        'decode_256': entry(2.0), f'batch_{count}_256': entry(4.0)})))
    assert f'decode {said}, context 256' in text


def test_columns_stand_below_each_other_and_sentences_widen_none():
    assert columns([['', 'a', 'bb'], ['long', '1', '2'], ['x', 'a whole sentence']]) == (
        '      a  bb\nlong  1   2\nx     a whole sentence')
