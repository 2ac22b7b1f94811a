# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm eval run` as a user types it: files that come out, exit codes, sentences."""
import json
import sys
from pathlib import Path

import pytest

from nanovlm_ros.cli import main as cli

sys.path.insert(0, str(Path(__file__).parents[1] / 'bag'))  # recordings

from recordings import (  # noqa: E402
    TOPIC, FakeSpec, film, read_lines, write_bag, write_questions)


@pytest.fixture
def fake_engine(monkeypatch):
    monkeypatch.setattr('nanovlm_ros.bag.engine.EngineSpec',
                        lambda *arguments: FakeSpec(max_sequences=arguments[2]))


@pytest.fixture
def command(tmp_path):
    """The arguments of a run over ten images."""
    bag = write_bag(tmp_path / 'night', {TOPIC: film(10)})
    questions = write_questions(tmp_path, {'truth': {'constant': 'ask 0|3|1'}, 'score': 'exact'})
    return ['eval', 'run', str(bag), '--questions', str(questions), '--out', str(tmp_path / 'out')]


def test_a_run_writes_rows_scores_and_a_report(fake_engine, command, tmp_path, capsys):
    assert cli.main(command) == 0
    out = tmp_path / 'out'
    assert len(read_lines(out / 'results.jsonl')) == 10
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['overall']['metrics']['accuracy']['value'] == 0.1
    assert (out / 'report.html').exists() and (out / 'results.mcap').exists()
    captured = capsys.readouterr()
    assert 'q0' in captured.out and str(out) in captured.err


@pytest.mark.parametrize('more, count', [
    (['--every', '2'], 5), (['--period', '0.3'], 4), (['--start', '0.5'], 5),
    (['--end', '0.3'], 3), (['--topic', TOPIC], 10), (['--workers', '2'], 10),
    (['--mode', 'replay', '--cost', '0.15'], 5)])
def test_options_choose_what_is_asked(fake_engine, command, tmp_path, more, count):
    assert cli.main([*command, *more]) == 0
    assert len(read_lines(tmp_path / 'out' / 'results.jsonl')) == count


@pytest.mark.parametrize('more, said', [
    (['--topic', '/lidar'], TOPIC), (['--start', '60'], '0.9 s long'),
    (['--mode', 'replay', '--workers', '2'], '--workers'),
    (['--questions', 'missing.yaml'], 'missing.yaml'), (['missing.mcap'], 'missing.mcap')])
def test_what_cannot_be_run_is_one_sentence_and_1(fake_engine, command, capsys, more, said):
    if more == ['missing.mcap']:
        command = ['eval', 'run', *more, *command[3:]]
        more = []
    assert cli.main([*command, *more]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith('nanovlm: ') and said in captured.err
    assert 'Traceback' not in captured.err


@pytest.mark.parametrize('more', [
    ['--every', '0'], ['--period', '-1'], ['--mode', 'sing'], ['--workers', 'x'],
    ['--start', 'inf'], ['--period', 'inf'], ['--cost', 'nan']])
def test_wrong_options_end_with_2(command, capsys, more):
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, *more])
    assert caught.value.code == 2
    assert f'argument {more[0]}: ' in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(command, capsys):
    assert cli.main([*command, '--model', '/missing/model']) == 1
    assert '/missing/model' in capsys.readouterr().err


def test_a_schema_is_checked_for_the_real_tokenizer_before_anything_is_asked(
        command, tmp_path, capsys):
    write_questions(tmp_path, {'json_schema': {'type': 'integer', 'minimum': 3, 'maximum': 2}})
    assert cli.main(command) == 1
    assert "Question 'q0': The JSON schema cannot be used" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_what_is_not_installed_is_named_with_the_fix(fake_engine, command, monkeypatch, capsys):
    monkeypatch.setattr('nanovlm_ros.cli.eval.EXTRA', ('rosbags', 'sing_a_song'))
    assert cli.main(command) == 1
    assert capsys.readouterr().err == (
        'nanovlm: `nanovlm eval` needs sing_a_song; `pip install "nanovlm_ros[eval]"`.\n')


def test_help_says_that_age_0_is_no_limit_as_in_the_node(capsys):
    with pytest.raises(SystemExit):
        cli.main(['eval', 'run', '--help'])
    assert '0: any age' in ' '.join(capsys.readouterr().out.split())


def test_help_shows_how_it_is_used(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['eval', '--help'])
    assert caught.value.code == 0
    assert 'nanovlm eval run night.mcap --questions' in capsys.readouterr().out
