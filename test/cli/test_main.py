# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The `nanovlm` command: its help, its exit codes, its sentences; the model is a fake."""
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from nanovlm_ros.cli import main as cli

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from fakes import FakeModel  # noqa: E402


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'picture.png'
    Image.new('RGB', (32, 24), 'red').save(path)
    return str(path)


@pytest.fixture
def fake_model(monkeypatch):
    """Every command loads this model, with these answers."""
    model = FakeModel()
    monkeypatch.setattr('nanovlm_ros.cli.model_arguments.load_model', lambda arguments: model)
    return model


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in cli.COMMANDS)


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, '--help'])
    assert caught.value.code == 0
    assert '--model' in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [[], ['sing'], ['ask'], ['ask', '-p', 'x', '--sing']])
def test_wrong_arguments_end_with_2(arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_ask_prints_the_answer_about_the_images_in_order(fake_model, picture, capsys):
    assert cli.main(['ask', picture, picture, '-p', 'What is it?']) == 0
    assert capsys.readouterr().out == 'What is it?|85,85|1\n'
    assert fake_model.closed


def test_ask_with_a_schema_prints_json(fake_model, picture, tmp_path, capsys):
    schema = tmp_path / 'schema.json'
    schema.write_text('{"type": "object", "properties": {"a": {"type": "boolean"}}, '
                      '"required": ["a"], "additionalProperties": false}')
    fake_model.reply = lambda turns: '{"a": true}'
    assert cli.main(['ask', picture, '-p', 'Is it?', '--json-schema', str(schema)]) == 0
    assert json.loads(capsys.readouterr().out) == {'a': True}


@pytest.mark.parametrize('arguments, said', [
    (['missing.png', '-p', 'x'], 'missing.png cannot be read'),
    ([__file__, '-p', 'x'], 'neither JPEG nor PNG'),
    (['-p', 'x', '--json-schema', 'missing.json'], 'missing.json cannot be read'),
    (['-p', 'x', '--json-schema', __file__], 'JSON'),
    (['-p', ' '], 'prompt')])
def test_what_cannot_be_asked_is_one_sentence_and_1(fake_model, capsys, arguments, said):
    assert cli.main(['ask', *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith('nanovlm: ') and said in captured.err
    assert 'Traceback' not in captured.err


def test_a_model_that_is_not_there_is_named(capsys):
    assert cli.main(['compile', '--model', '/missing/model']) == 1
    assert '/missing/model' in capsys.readouterr().err


def test_compile_says_where_the_files_are(fake_model, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path))
    assert cli.main(['compile']) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert fake_model.closed
