# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm bench` measures what it says, beside its peers, and writes it down."""
import json
import sys
from types import SimpleNamespace

import pytest
from tiny import LLAMA, STABLELM, Llama, Writer, fake_modules, write_shape

from nanovlm_ros.bench import run as bench_run
from nanovlm_ros.cli import main as cli

PARTS = ['preprocess', 'vision', 'frame', 'window_8', 'yes_no', 'frames_per_second',
         'fresh_answer', 'fresh_first_token', 'cached_answer', 'cached_first_token',
         'answer_decode', 'prefill_256', 'prefill_384', 'decode_256', 'decode_352',
         'decode_sampled_256', 'batch_1_256', 'batch_2_256', 'batch_4_160', 'batch_8_64']
BESIDE = {'prefill_256', 'prefill_384', 'decode_256', 'decode_352'}


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """Return one run with everything: its text, and what it wrote."""
    folder = tmp_path_factory.mktemp('bench')
    patch = pytest.MonkeyPatch()
    for name, module in fake_modules().items():
        patch.setitem(sys.modules, name, module)
    # The stand-ins for llama.cpp are in this process alone.
    patch.setattr(bench_run, 'Apart', lambda make, *arguments, without: make(*arguments))
    out = []
    patch.setattr('builtins.print', lambda *text, file=None, flush=False: out.append(
        ' '.join(text)) if file is None else None)
    try:
        code = cli.main([
            'bench', '--random-weights', '--shape', write_shape(folder), '--device', 'cpu',
            '--repeat', '2', '--against', 'hf', 'llama.cpp', '--numerics', '--fits', '4',
            '--activations', 'float32',
            '--output', str(folder / 'out.json')])
    finally:
        patch.undo()
    return SimpleNamespace(code=code, text='\n'.join(out), result=json.loads(
        (folder / 'out.json').read_text()), llama=Llama.made, written=Writer.written)


def test_everything_is_measured_with_its_spread(done):
    assert done.code == 0
    measured = done.result['models'][0]['measured']
    assert set(PARTS) <= set(measured)
    for name, entry in measured.items():
        assert entry['median'] > 0, name
        if 'min' in entry:
            assert 0 < entry['min'] <= entry['median'] <= entry['max'], name
            assert entry['runs'] == 2 and entry['unit'] in ('ms', '/s', 'tokens/s'), name


def test_peers_are_measured_in_the_same_run_and_given_back(done):
    peers = done.result['models'][0]['peers']
    assert set(peers) == {'hf float32', 'hf bfloat16', 'llama.cpp'}
    assert all(set(measured) == BESIDE for measured in peers.values())
    assert all(entry['runs'] == 2 for peer in peers.values() for entry in peer.values())
    assert [llama.closed for llama in done.llama] == [True]


def test_llama_cpp_gets_the_threads_of_our_kernels_and_decodes_after_the_same_rows(done):
    llama, = done.llama
    threads = done.result['threads']['tvm']
    assert (llama.options['n_threads'], llama.options['n_threads_batch']) == (threads, threads)
    # Prefills begin empty; each run of decoding begins after the rows that were filled.
    assert {(256, 256), (384, 384), (1, 257), (352, 352), (1, 353)} <= set(llama.evaluated)
    assert max(rows for _, rows in llama.evaluated) == 384


def test_the_file_for_llama_cpp_has_the_dimensions_of_ours(done):
    written, = done.written
    assert written.fields['embedding_length'] == 64 and written.fields['head_count_kv'] == 2
    assert written.fields['block_count'] == 2 and len(written.fields['token_list']) == 1280
    assert written.tensors['blk.1.attn_k.weight'][0].shape == (32, 64 // 32 * 18)
    assert written.tensors['blk.0.ffn_down.weight'][0].shape == (64, 96 // 32 * 18)
    numbers = sum(array.size * 32 // 18 if kind else array.size
                  for array, kind in written.tensors.values())
    assert numbers == 2 * 1280 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96) + 5 * 64


def test_the_machine_the_versions_the_command_and_the_date_are_told(done):
    result = done.result
    assert result['machine']['cpu'] and result['machine']['cores'] >= 1
    assert {'python', 'torch', 'apache-tvm', 'transformers'} <= set(result['versions'])
    assert result['command'].startswith('nanovlm') and result['date'].endswith('UTC')
    assert result['threads']['tvm'] >= 1


def test_memory_is_told_beforehand_measured_and_judged_only_where_asked(done):
    memory = done.result['models'][0]['memory']
    # The most at a look: less than the system's own peak by the pages of files, at least.
    assert 100 < memory['in_all_mib'] <= memory['resident_mib'] - memory['files_of_that_mib'] + 1
    assert memory['told_mib'] == pytest.approx(601, abs=5) and memory['fits'] is True
    assert 'of 4 GB: fits' in done.text


def test_the_floor_is_the_weights_of_a_token_at_the_speed_of_memory(done):
    floor = done.result['models'][0]['floor']
    matrices = 1280 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96)
    assert floor['weights_mib'] == round((matrices * 4.5 / 8 + 5 * 64 * 4) / 2 ** 20, 1)
    assert floor['bandwidth_gb_s'] > 1 and floor['ms'] > 0


def test_our_logits_lie_within_the_rounding_of_float16(done):
    numerics = done.result['models'][0]['numerics']
    assert numerics['rows'] == 18 and numerics['layers'] == 2
    assert 0 < numerics['largest_error'] < 2 * numerics['largest_error_torch_float16']
    assert numerics['spread_of_logits'] > 0.05


def test_the_table_shows_ours_the_peers_and_ratios(done):
    lines = done.text.splitlines()
    row = next(line for line in lines if line.startswith('decode, context 256'))
    measured = done.result['models'][0]['measured']['decode_256']
    assert f'{measured["median"]:g} ms' in row and row.count('x') == 4  # of "context", and 3
    assert any('hf float32' in line and 'llama.cpp' in line for line in lines)
    assert 'frames a second' in done.text and 'floor of decoding' in done.text


def test_stablelm_is_measured_against_transformers_alone(tmp_path, capsys):
    shape = write_shape(tmp_path, name='stable', llm=STABLELM, vision=None)
    arguments = ['bench', '--random-weights', '--shape', shape, '--device', 'cpu', '--repeat',
                 '1', '--brief', '--numerics', '--activations',
                 'float32', '--output', str(tmp_path / 'out.json')]
    assert cli.main(arguments) == 0
    model, = json.loads((tmp_path / 'out.json').read_text())['models']
    numerics = model['numerics']
    assert 0 < numerics['largest_error'] < 2 * numerics['largest_error_torch_float16']
    assert set(model['measured']) == {'prefill_256', 'prefill_384', 'decode_256'}
    assert '0.0 MiB for vision, 0.0 MiB for images' in model['memory']['told']
    assert cli.main([*arguments, '--against', 'llama.cpp']) == 1
    assert 'llama-cpp-python' in capsys.readouterr().err


def test_each_of_several_shapes_has_a_process_and_one_that_fails_says_why(tmp_path, capsys):
    short = write_shape(tmp_path, name='short', llm={**LLAMA, 'max_position_embeddings': 256})
    assert cli.main(['bench', '--random-weights', '--shape', short, write_shape(tmp_path),
                     '--device', 'cpu', '--context-length', '384', '--repeat', '1', '--brief',
                     '--output', str(tmp_path / 'out.json')]) == 0
    refused, tiny = json.loads((tmp_path / 'out.json').read_text())['models']
    assert refused == {'name': 'short', 'error': refused['error']}
    assert 'context_length is 384, but short has 256' in refused['error']
    assert tiny['load_s'] > 0 and {'vision', 'prefill_384', 'decode_256'} <= set(tiny['measured'])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('short') and '256 positions' in line for line in lines)
    assert any(line.startswith('tiny') and 'ms' in line for line in lines)


@pytest.mark.parametrize('arguments, said', [
    (['--random-weights'], '--shape'), (['--shape', 'VILA1.5-3b'], '--random-weights'),
    (['--random-weights', '--shape', 'VILA-9b'], 'VILA1.5-3b'),
    (['--random-weights', '--shape', 'VILA1.5-3b', 'VILA-9b'], 'VILA-9b'),
    (['--random-weights', '--shape', 'VILA1.5-3b', '--model', 'x'], '--model'),
    *((['--random-weights', '--shape', 'VILA1.5-3b', '--context-length', context],
       f'context_length is {context}, but VILA1.5-3b has 4096 positions')
      for context in ('5000', '32', '-5')),
    (['--context-length', '20'], 'context_length is 20'),
    *((['--random-weights', '--shape', 'VILA1.5-3b', *option], f'{option[0]} cannot be used')
      for option in (['--revision', 'main'], ['--trust-pickle'], ['--chat-template', 'vicuna_v1'],
                     ['--vision-scaling', 'pad'])),
    (['--random-weights', '--shape', 'TinyLlama-1.1B', '--max-sequences', '1000000'],
     'max_sequences'),
    (['--output', '/missing/out.json'], 'there is no folder /missing'),
    (['--output', '/'], 'it is a folder'),
    (['--random-weights', '--shape', 'VILA1.5-3b', '--device', 'cpu', '--against', 'llama.cpp'],
     'pip install llama-cpp-python gguf'),
    (['--random-weights', '--shape', 'TinyLlama-1.1B', '--sharing'], 'takes none'),
    (['--random-weights', '--shape', 'all', '--node'], 'one model at a time'),
    (['--model', '/missing/model'], '/missing/model')])
def test_what_cannot_be_measured_is_a_sentence(arguments, said, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'llama_cpp', None)
    assert cli.main(['bench', '--device', 'cpu', *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith('nanovlm: ') and said in captured.err
    assert 'Traceback' not in captured.err and not captured.out


@pytest.mark.parametrize('arguments', [
    ['--repeat', '0'], ['--fits', '-1'], ['--against', 'ollama'], ['--threads', 'two'],
    ['--repeat', '2.5'], ['--fits', 'much']])
def test_wrong_numbers_and_names_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['bench', *arguments])
    assert caught.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert arguments[0] in said and '_positive' not in said
