# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What got better and what got worse, and when CI must stop."""
import argparse

import numpy as np
import pytest
import synthetic
from page_checker import HOSTILE, Checker

from nanovlm_ros.bag import diff, diff_report
from nanovlm_ros.bag.result_folder import read_results
from nanovlm_ros.types import NanoVlmError


def folder(path, rows, **changes):
    return synthetic.write(path, rows, **changes)


def run(*arguments):
    parser = argparse.ArgumentParser()
    diff.add_arguments(parser)
    return diff.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    return folder(tmp_path_factory.mktemp('a') / 'good', synthetic.rows(300))


@pytest.fixture(scope='module')
def bad(tmp_path_factory):
    rows = synthetic.rows(300)
    for row in rows[::9]:
        if row['question'] == 'sign' or row['stamp_ns'] % 3 == 0:
            continue
        row['text'], row['json'] = 'Nonsense.', ''
        if row['score']:
            row['score'] = synthetic.scoring.score(
                {q['id']: q for q in synthetic.questions()}[row['question']], row['text'], '',
                row['truth'])
    return folder(tmp_path_factory.mktemp('b') / 'bad', rows, model='other')


def changes(a, b):
    return {(c.question, c.name): c
            for c in diff.compare(read_results(a), read_results(b)).changes}


def test_a_run_equals_itself(good, capsys):
    assert run(good, good) == 0
    assert 'worse' not in capsys.readouterr().out.lower()
    assert all(c.difference['value'] == c.difference['low'] == c.difference['high'] == 0
               for c in changes(good, good).values())


def test_a_score_that_falls_is_exit_code_1_and_is_named(good, bad, capsys):
    assert run(good, bad) == 1
    out = capsys.readouterr().out
    assert 'Worse by more than chance: all questions (right), ' in out
    assert (bad / 'diff.html').exists()


def test_a_score_that_rises_is_exit_code_0(good, bad, tmp_path, capsys):
    assert run(bad, good, '--html', tmp_path / 'page.html') == 0
    assert 'better' in capsys.readouterr().out
    assert (tmp_path / 'page.html').exists()


def test_chance_alone_is_exit_code_0(tmp_path, capsys):
    """Two runs that err at the same rate, at other stamps."""
    a = folder(tmp_path / 'a', synthetic.rows(300, seed=1))
    b = folder(tmp_path / 'b', synthetic.rows(300, seed=2))
    assert run(a, b) == 0, capsys.readouterr().out


def test_the_differences_are_those_of_a_plain_loop(good, bad):
    found = changes(good, bad)
    a, b = read_results(good), read_results(bad)
    right = [[row['score']['correct'] for row in results.rows_of('door')] for results in (a, b)]
    assert found['door', 'accuracy'].difference['value'] == pytest.approx(
        np.mean(right[1]) - np.mean(right[0]))
    assert found['door', 'accuracy'].verdict == 'worse'
    whole = [s for (question, _), s in found.items() if question == diff.OVERALL]
    assert len(whole) == 1 and whole[0].difference['n'] == 300 * 7


def test_less_error_is_better(tmp_path):
    a = folder(tmp_path / 'a', synthetic.rows(300, right=0.6))
    b = folder(tmp_path / 'b', synthetic.rows(300, right=0.99))
    error = changes(a, b)['boxes', 'mean_absolute_error']
    assert error.difference['value'] < 0 and error.verdict == 'better'
    assert changes(b, a)['boxes', 'mean_absolute_error'].verdict == 'worse'


def test_pairs_beat_two_intervals(tmp_path):
    """Both err at the same stamps, B at a few more: seen though the intervals overlap."""
    rows = synthetic.rows(200, right=0.6)
    asked = {q['id']: q for q in synthetic.questions()}['scene']
    worse = [dict(row) for row in rows]
    for row in [r for r in worse if r['question'] == 'scene'][::20]:
        row['text'] = '?'
        row['score'] = synthetic.scoring.score(asked, '?', '', row['truth'])
    change = changes(folder(tmp_path / 'a', rows), folder(tmp_path / 'b', worse))[
        'scene', 'accuracy']
    assert change.verdict == 'worse' and -0.05 < change.difference['value'] < 0


def test_a_run_that_was_stopped_is_not_compared(good, tmp_path, capsys):
    rows = synthetic.rows(300)
    half = folder(tmp_path / 'half', rows[:900], planned_rows=len(rows))
    for pair in ((good, half), (half, good)):
        assert run(*pair) == 2
        assert f'{half} has 900 of {len(rows)} rows; its run was stopped' in \
            capsys.readouterr().err


def test_only_rows_of_both_count(good, tmp_path, capsys):
    assert run(good, folder(tmp_path / 'half', synthetic.rows(150))) == 0
    out = capsys.readouterr().out
    assert 'door: 150 rows are left out, which only one run has.' in out


def test_rows_with_another_truth_do_not_count(good, tmp_path, capsys):
    rows = synthetic.rows(300)
    for row in rows[:80]:
        row['truth'] = {'door': 'ajar'}.get(row['question'], row['truth'])
    run(good, folder(tmp_path / 'b', rows))
    assert 'are left out, whose truth differs' in capsys.readouterr().out


@pytest.mark.parametrize('change, sentence', [
    (lambda rows: [{**row, 'bag': 'elsewhere'} for row in rows],
     'is about the bags drive, .* about elsewhere; evaluate the same bags'),
    (lambda rows: [{**row, 'stamp_ns': row['stamp_ns'] + 1} for row in rows],
     'no row of one has the same question, stamp and truth')])
def test_runs_that_cannot_be_compared_are_exit_code_2_with_a_sentence(
        good, tmp_path, capsys, change, sentence):
    other = folder(tmp_path / 'b', change(synthetic.rows(20)))
    assert run(good, other) == 2
    assert not (other / 'diff.html').exists()
    with pytest.raises(NanoVlmError, match=f'These runs cannot be compared: .*{sentence}'):
        diff.compare(read_results(good), read_results(other))
    assert 'cannot be compared' in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_no_regression(good, tmp_path, capsys):
    assert run(good, good, '--html', tmp_path / 'nowhere' / 'diff.html') == 2
    assert 'cannot be written: No such file' in capsys.readouterr().err


def test_other_questions_cannot_be_compared(good, tmp_path, capsys):
    asked = [synthetic.question('ball', 'yes_no')]
    rows = [{**row, 'question': 'ball'} for row in synthetic.rows(5)
            if row['question'] == 'person']
    assert run(good, folder(tmp_path / 'b', rows, questions=asked)) == 2
    assert 'asks ball; give the same ids' in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_exit_code_2(good, tmp_path, capsys):
    assert run(good, tmp_path) == 2
    assert 'has no run.json' in capsys.readouterr().err


def test_a_question_that_is_scored_otherwise_is_left_out(good, tmp_path, capsys):
    asked = [{**q, 'score': 'exact'} if q['id'] == 'scene' else q for q in synthetic.questions()]
    run(good, folder(tmp_path / 'b', synthetic.rows(300), questions=asked))
    assert 'scene is left out: A scores it as normalised, B as exact.' in capsys.readouterr().out


def test_the_page_shows_both_answers_with_pictures(good, bad, tmp_path):
    comparison = diff.compare(read_results(good), read_results(bad))
    diff_report.write_page(comparison, tmp_path / 'diff.html', synthetic.picture)
    page = (tmp_path / 'diff.html').read_text()
    text = Checker(page).text
    for part in ('What changed', 'Scores', 'Worse in B', 'A said', 'B said', 'Nonsense.',
                 'other, configuration', 'Each of the'):
        assert part in text, part
    assert page.count('<img') > 5
    assert all(ref.startswith('data:image/jpeg') for ref in Checker(page).references)


def test_no_text_becomes_markup_in_the_page(tmp_path):
    def hostile(rows):
        return [{**row, 'bag': HOSTILE, 'camera': HOSTILE, 'prompt': HOSTILE} for row in rows]

    a = folder(tmp_path / 'a', hostile(synthetic.rows(60)), model=HOSTILE)
    worse = [{**row, 'text': HOSTILE, 'score': row['score'] and {**row['score'], 'correct': False}}
             for row in hostile(synthetic.rows(60))]
    comparison = diff.compare(read_results(a), read_results(folder(tmp_path / 'b', worse)))
    comparison.notes.append(HOSTILE)
    diff_report.write_page(comparison, tmp_path / 'diff.html', synthetic.picture)
    page = (tmp_path / 'diff.html').read_text()
    assert '<script' not in page
    assert Checker(page).text.count('<script>') > 20
