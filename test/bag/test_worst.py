# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The worst answers come first, one of each run of wrong ones."""
import numpy as np
from synthetic import question, row

from nanovlm_ros.bag.worst import expected, said, worst_runs


def rows(asked, pairs):
    random = np.random.default_rng(0)
    return [row(asked, i, text, truth, 0, random, 'drive') for i, (text, truth) in
            enumerate(pairs)]


def test_neighbours_that_are_wrong_are_one_run_and_long_runs_come_first():
    asked = question('door', 'choice', choices=['open', 'closed'])
    some = rows(asked, [('open', 'closed'), ('open', 'open'), *[('closed', 'open')] * 3,
                        ('open', 'open')])
    found = worst_runs(asked, some)
    assert [(run.length, run.row['stamp_ns'], round(run.seconds, 3)) for run in found] == [
        (3, some[3]['stamp_ns'], 0.2), (1, some[0]['stamp_ns'], 0.0)]


def test_the_worst_of_a_run_is_shown():
    asked = question('boxes', 'number')
    some = rows(asked, [(1, 2), (9, 2), (3, 2), (2, 2), (5, 2)])
    assert [run.row['text'] for run in worst_runs(asked, some)] == ['9', '5']


def test_failures_and_unreadable_numbers_are_worst():
    asked = question('boxes', 'number')
    some = rows(asked, [(9, 2), (2, 2), ('many', 2), (2, 2), (2, 2), (7, 2)])
    some[5] = {**some[5], 'error_code': 6, 'error_message': 'late', 'score': None}
    assert [said(run.row) for run in worst_runs(asked, some)] == ['many', 'error 6: late', '9']


def test_texts_are_ranked_by_what_is_missing_and_json_by_its_fields():
    asked = question('sign', 'text_distance')
    some = rows(asked, [('EXIT 1', 'EXIT 12'), ('EXIT 12', 'EXIT 12'), ('NO', 'EXIT 12')])
    assert [run.row['text'] for run in worst_runs(asked, some)] == ['NO', 'EXIT 1']
    asked = question('report', 'json', json_schema={})
    some = rows(asked, [({'a': 1, 'b': 0}, {'a': 1, 'b': 2}), ({'a': 1}, {'a': 1}),
                        (None, {'a': 1, 'b': 2})])
    assert [run.badness for run in worst_runs(asked, some)] == [1.0, 0.5]


def test_rows_without_truth_or_mistake_are_not_shown():
    asked = question('scene', 'normalised')
    assert worst_runs(asked, rows(asked, [('a', None), ('b', 'B.')])) == []


def test_truths_and_answers_are_written_for_readers():
    (one,) = rows(question('person', 'yes_no'), [('', True)])
    assert (said(one), expected(one)) == ('(nothing)', 'yes')
    assert expected({'truth': ['a', 'b']}) == 'a / b'
    assert expected({'truth': {'a': 1}}) == '{"a": 1}'
    assert expected({'truth': None}) is None
