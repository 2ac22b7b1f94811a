# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm chat` as a user types it, without a terminal: what goes where, exit codes, sentences."""
import io
import json
import sys
from pathlib import Path

import pytest
from fakes import FakeModel
from PIL import Image

from nanovlm_ros.cli import main as cli

EXAMPLES = Path(__file__).parents[2] / 'examples'
SCHEMA = {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'required': ['a'],
          'additionalProperties': False}


@pytest.fixture
def loaded(monkeypatch):
    """The model that is loaded, and what it was loaded with."""
    model = FakeModel()
    model.options = None

    def load_model(arguments, **options):
        model.arguments, model.options = arguments, options
        return model

    monkeypatch.setattr('nanovlm_ros.cli.model_arguments.load_model', load_model)
    return model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work where red.png, white.png and schema.json lie."""
    monkeypatch.chdir(tmp_path)
    for colour in ('red', 'white'):
        Image.new('RGB', (32, 24), colour).save(f'{colour}.png')
    (tmp_path / 'schema.json').write_text(json.dumps(SCHEMA))
    return tmp_path


def chat(*prompts, options=()):
    asked = [word for prompt in prompts for word in ('--prompt', prompt)]
    return cli.main(['chat', *asked, *map(str, options)])


def typed(monkeypatch, text, *options):
    """Run the chat with lines from a pipe."""
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(text)))
    return cli.main(['chat', *options])


# -- a list ---------------------------------------------------------------------------------------

def test_answers_go_to_stdout_and_everything_else_to_stderr(loaded, folder, capsys):
    assert chat('red.png', 'What?', 'And?', 'reset', 'white.png', 'Now?') == 0
    out, err = capsys.readouterr()
    assert out == 'What?|85|1\nAnd?||2\nNow?|255|1\n'
    assert err.count('>> PROMPT: ') == 6 and err.count('first token') == 3
    assert 'red.png, 32 x 24 pixels' in err and '\x1b' not in out + err
    assert loaded.closed and loaded.resets == 1


def test_without_a_terminal_nothing_is_wrapped_or_changed(loaded, capsys):
    loaded.reply = lambda turns: ' ' + 'word ' * 100 + '\x1b[1m\n'
    assert chat('x', options=['--max-new-tokens', 1000]) == 0
    assert capsys.readouterr().out == 'word ' * 100 + '\x1b[1m\n'


def test_no_stats_are_shown_where_none_are_wanted(loaded, capsys):
    assert chat('x', options=['--no-stats']) == 0
    assert capsys.readouterr().err == '>> PROMPT: x\n'


def test_the_table_counts_what_the_answer_took(loaded, folder, capsys):
    assert chat('red.png', 'What?') == 0
    head, row = capsys.readouterr().err.splitlines()[-2:]
    assert head.split() == ['in', 'cached', 'out', 'vision', 'first', 'token', 'prefill', 'decode',
                            'total']
    assert row.split()[:3] == ['9', '0', '11'] and row.count('tok/s') == 2
    assert len(head) == 79


def test_files_of_prompts_are_run_like_prompts(loaded, folder, capsys):
    (folder / 'ask.txt').write_text('From a file?')
    (folder / 'list.json').write_text(json.dumps(
        ['red.png', 'One?', {'text': 'Two?'}, 'clear', {'image': 'white.png', 'text': 'Three?'}]))
    assert chat('ask.txt', 'list.json', 'Four?') == 0
    assert capsys.readouterr().out.splitlines() == [
        'From a file?||1', 'One?|85|2', 'Two?||3', 'Three?|255|1', 'Four?||2']


def test_several_pictures_are_for_models_that_take_several(loaded, folder, capsys):
    assert chat('red.png', 'white.png', 'Which?') == 0
    assert capsys.readouterr().out == 'Which?|85,255|1\n'
    loaded.max_images = 1
    assert chat('red.png', 'white.png', 'Which?') == 1
    out, err = capsys.readouterr()
    assert out == '' and err.splitlines()[-1] == (
        'nanovlm: white.png is one picture too many: fake takes a single one; empty the chat with '
        'reset before it.')
    assert chat('red.png', 'a', 'reset', 'white.png', 'b') == 0


@pytest.mark.parametrize('prompts, options, said', [
    (['missing.png', 'x'], [], 'missing.png is not there'),
    (['red.png'], [], 'Nothing is asked about red.png'),
    (['list.json'], [], 'list.json cannot be read'),
    (['/sing'], [], 'no command /sing'),
    (['x'], ['--json-schema', 'missing.json'], 'missing.json cannot be read'),
    (['x'], ['--json-schema', 'red.png'], 'red.png cannot be read: it is not UTF-8'),
    (['x'], ['--json-schema', 'bad.json'], 'bad.json: The JSON schema is a list'),
    (['x'], ['--min-new-tokens', 200], 'min_new_tokens is 200'),
    (['x'], ['--top-p', 0], 'top_p is 0.0'), (['x'], ['--temperature', -1], 'temperature is -1.0'),
    (['x'], ['--seed', -1], 'seed is -1')])
def test_what_cannot_be_is_told_before_a_model_is_loaded(
        loaded, folder, capsys, prompts, options, said):
    (folder / 'bad.json').write_text('[]')
    assert chat(*prompts, options=options) == 1
    out, err = capsys.readouterr()
    assert out == '' and err.startswith('nanovlm: ') and said in err
    assert loaded.options is None


def test_a_picture_that_is_none_ends_the_list_for_what_follows_is_about_it(
        loaded, folder, capsys):
    (folder / 'bad.png').write_text('nothing')
    assert chat('Before?', 'bad.png', 'What is it?') == 1
    out, err = capsys.readouterr()
    assert out == 'Before?||1\n' and 'nanovlm: bad.png: it is neither' in err


def test_an_answer_that_fails_is_told_and_the_list_goes_on(loaded, capsys):
    assert chat('x' * 5000, 'y') == 1
    out, err = capsys.readouterr()
    assert out == 'y||1\n' and 'shorter prompt' in err


@pytest.mark.parametrize('arguments', [
    ['--max-new-tokens', '0'], ['--temperature', 'x'], ['--vision-scaling', 'round'],
    ['--quantization', 'q2'], ['--sing'], ['stray']])
def test_wrong_arguments_end_with_2(arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(['chat', *arguments])
    assert caught.value.code == 2


def test_the_help_of_the_chat_names_its_commands_and_fits_a_terminal(loaded, capsys):
    assert chat('/help') == 0
    lines = capsys.readouterr().err.splitlines()[1:]
    assert all(len(line) < 80 for line in lines)
    assert all(word in ' '.join(lines) for word in ('reset', '/help', '/exit', 'Ctrl-C', '.json'))


# -- JSON -----------------------------------------------------------------------------------------

def test_with_a_schema_stdout_is_json_one_line_an_answer(loaded, folder, capsys):
    loaded.reply = lambda turns: f'{{"a": {len(turns)}}}'
    assert chat('red.png', 'x', 'y', options=['--json-schema', 'schema.json']) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {'a': 1}, {'a': 2}]


def test_json_that_was_cut_short_is_not_printed(loaded, folder, capsys):
    loaded.reply = lambda turns: '{"a": 1234567}'
    assert chat('x', options=['--json-schema', 'schema.json', '--max-new-tokens', 8]) == 1
    out, err = capsys.readouterr()
    assert out == '' and 'cut short' in err


# -- settings -------------------------------------------------------------------------------------

@pytest.mark.parametrize('options, wanted', [
    ([], {'temperature': 0.0, 'top_p': 0.95, 'max_new_tokens': 128, 'min_new_tokens': 0,
          'repetition_penalty': 1.0}),
    (['--do-sample'], {'temperature': 0.7, 'top_p': 0.95}),
    (['--temperature', '0.3'], {'temperature': 0.3}),
    (['--do-sample', '--temperature', '1.5', '--top-p', '0.5'],
     {'temperature': 1.5, 'top_p': 0.5}),
    (['--seed', '7', '--repetition-penalty', '1.3', '--min-new-tokens', '4'],
     {'seed': 7, 'repetition_penalty': 1.3, 'min_new_tokens': 4})])
def test_the_flags_become_the_settings_of_every_answer(loaded, monkeypatch, options, wanted):
    from nanovlm_ros.engine.executor import MlcExecutor

    queries, submit = [], MlcExecutor.submit
    monkeypatch.setattr(MlcExecutor, 'submit', lambda self, query, *callbacks: (
        queries.append(query), submit(self, query, *callbacks))[1])
    assert chat('x', 'y', options=[*options, '--system-prompt', 'Be brief.']) == 0
    for query in queries:
        assert {name: getattr(query.config, name) for name in wanted} == wanted
        assert query.system_prompt == 'Be brief.' and query.keep_history
    seeds = {query.config.seed for query in queries}
    assert len(seeds) == (1 if '--seed' in options else 2)


def test_the_flags_of_the_model_reach_the_loader(monkeypatch):
    loads = []

    def load(model, **options):
        loads.append((model, options))
        return FakeModel()

    monkeypatch.setattr('nanovlm_ros.engine.loader.load', load)
    flags = ['--model', '/m', '--quantization', 'q0f32', '--activations', 'float32',
             '--max-context-len', 512, '--chat-template', 'llama_3', '--vision-scaling', 'pad']
    assert chat('x') == chat('x', options=flags) == 0
    (bare, usual), (model, options) = loads
    assert (bare, model) == ('', '/m') and usual['max_sequences'] == 1
    wanted = {'quantization': 'q0f32', 'activations': 'float32', 'context_length': 512,
              'chat_template': 'llama_3', 'vision_scaling': 'pad', 'max_sequences': 1}
    assert {name: options[name] for name in wanted} == wanted


# -- lines from a pipe ----------------------------------------------------------------------------

def test_lines_of_a_pipe_are_a_chat(loaded, folder, monkeypatch, capsys):
    assert typed(monkeypatch, b'red.png\n\nWhat?\nAnd?\n/exit\nnever') == 0
    assert capsys.readouterr().out == 'What?|85|1\nAnd?||2\n'


def test_a_line_that_cannot_be_done_is_told_and_the_chat_goes_on(
        loaded, folder, monkeypatch, capsys):
    (folder / 'bad.png').write_text('nothing')
    lines = b'missing.png\nbad.png\n/sing\nlist.json\n\xff\nhttp://host:port/a.png\nStill there?'
    assert typed(monkeypatch, lines) == 1
    out, err = capsys.readouterr()
    assert out == 'Still there?||1\n'
    for said in ('missing.png cannot be read', 'bad.png: it is neither', 'no command /sing',
                 'list.json cannot be read', 'is not Unicode', 'http://host:port/a.png cannot'):
        assert said in err


# -- the model that ships -------------------------------------------------------------------------

def test_the_list_of_the_examples_is_answered_right(capsys):
    assert chat(str(EXAMPLES / 'prompts.json')) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        'HOOVER DAM 8 1/4 MILES', "I don't know.", '{"sign": "HOOVER DAM 8 1/4 MILES"}',
        'Yes.', 'Purple.', '2', 'A person appeared in the center.']
    rows = [line.split() for line in err.splitlines() if 'tok/s' in line]
    cached = [int(row[1]) for row in rows]
    assert cached[0] == cached[3] == cached[6] == 0, 'after a reset nothing is left'
    assert all(cached[n] > 64 for n in (1, 2, 4, 5)), 'follow-ups take the picture from the cache'


def test_a_road_sign_becomes_json(capsys):
    assert chat(str(EXAMPLES / 'pictures' / 'sign.jpg'),
                'extract any text from the image as json',
                options=['--json-schema', EXAMPLES / 'sign.json']) == 0
    assert json.loads(capsys.readouterr().out) == {'sign': 'HOOVER DAM 8 1/4 MILES'}
