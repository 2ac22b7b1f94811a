# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The scores equal those that a few plain loops over results.jsonl find."""
import json
from collections import Counter

import pytest
import synthetic

from nanovlm_ros.bag.metrics import confusion, summarise_question
from nanovlm_ros.bag.outputs import summarise
from nanovlm_ros.bag.result_folder import read_results


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Return (summary, rows by question), the rows read from the file by json alone."""
    folder = tmp_path_factory.mktemp('run')
    synthetic.write(folder, [*synthetic.rows(300, bag='a'), *synthetic.rows(
        200, right=0.7, seed=3, bag='b')])
    rows = {}
    for text in (folder / 'results.jsonl').read_text().splitlines():
        rows.setdefault(json.loads(text)['question'], []).append(json.loads(text))
    return summarise(read_results(folder)), rows


def simple(text):
    return ' '.join(str(text).lower().split()).rstrip('.')


def value(summary, question, name):
    return summary['questions'][question]['metrics'][name]['value']


def test_exact_and_normalised_match(made):
    summary, rows = made
    for name in ('person', 'door', 'sign', 'scene'):
        exact = [row['text'] == row['truth'] for row in rows[name]]
        same = [simple(row['text']) == simple(row['truth']) for row in rows[name]]
        assert value(summary, name, 'exact_match') == pytest.approx(sum(exact) / len(exact))
        assert value(summary, name, 'normalised_match') == pytest.approx(sum(same) / len(same))
        assert value(summary, name, 'accuracy') == pytest.approx(sum(same) / len(same))


def test_precision_recall_and_f1_of_yes(made):
    summary, rows = made
    cells = Counter((simple(r['truth']) == 'yes', simple(r['text']) == 'yes')
                    for r in rows['person'])
    precision = cells[True, True] / (cells[True, True] + cells[False, True])
    recall = cells[True, True] / (cells[True, True] + cells[True, False])
    assert value(summary, 'person', 'precision') == pytest.approx(precision)
    assert value(summary, 'person', 'recall') == pytest.approx(recall)
    assert value(summary, 'person', 'f1') == pytest.approx(
        2 * precision * recall / (precision + recall))


def test_the_confusion_table_counts_every_row(made):
    summary, rows = made
    table = summary['questions']['door']['confusion']
    cells = Counter((row['truth'], row['text']) for row in rows['door'])
    assert table['labels'] == sorted(synthetic.DOORS)
    assert table['counts'] == [[cells[true, said] for said in table['labels']]
                               for true in table['labels']]
    person = summary['questions']['person']['confusion']
    assert person['labels'] == ['yes', 'no', 'other']
    assert sum(map(sum, person['counts'])) == len(rows['person'])


def test_numbers(made):
    summary, rows = made
    read = [(int(row['text']), row['truth']) for row in rows['boxes'] if row['text'].isdigit()]
    assert value(summary, 'boxes', 'mean_absolute_error') == pytest.approx(
        sum(abs(said - true) for said, true in read) / len(read))
    assert value(summary, 'boxes', 'number_read') == len(read) / len(rows['boxes'])
    assert value(summary, 'boxes', 'exact_share') == pytest.approx(
        sum(said == true for said, true in read) / len(rows['boxes']))


def test_json(made):
    summary, rows = made
    documents = [json.loads(row['json']) if row['json'] else None for row in rows['report']]
    asked = len(documents)
    assert value(summary, 'report', 'json_valid') == sum(d is not None for d in documents) / asked
    for name in ('door', 'boxes'):
        hits = sum(d is not None and d[name] == row['truth'][name]
                   for d, row in zip(documents, rows['report']))
        assert value(summary, 'report', f'field_{name}') == pytest.approx(hits / asked)
    assert value(summary, 'report', 'accuracy') == pytest.approx(
        sum(d == row['truth'] for d, row in zip(documents, rows['report'])) / asked)


def edits(a, b):
    """Return Levenshtein's distance by its textbook table."""
    line = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, line = line, [i]
        for j, right in enumerate(b, 1):
            line.append(min(above[j] + 1, line[-1] + 1, above[j - 1] + (left != right)))
    return line[-1]


def test_reading_of_signs(made):
    summary, rows = made
    pairs = [(simple(row['text']), simple(row['truth'])) for row in rows['sign']]
    assert value(summary, 'sign', 'edit_distance') == pytest.approx(
        sum(edits(*pair) for pair in pairs) / len(pairs))
    assert value(summary, 'sign', 'similarity') == pytest.approx(
        sum(1 - edits(*pair) / max(map(len, pair)) for pair in pairs) / len(pairs))


def test_flips_are_within_a_bag(made):
    summary, rows = made
    flips = pairs = 0
    for bag in ('a', 'b'):
        said = [simple(r['text']) for r in rows['scene'] if r['bag'] == bag]
        flips += sum(x != y for x, y in zip(said, said[1:]))
        pairs += len(said) - 1
    assert value(summary, 'scene', 'flip_rate') == pytest.approx(flips / pairs)


def test_the_overall_score_is_that_of_all_rows_with_a_truth(made):
    summary, rows = made
    judged = [row['score']['correct'] for some in rows.values() for row in some if row['score']]
    assert summary['overall']['scored'] == len(judged)
    assert summary['overall']['metrics']['accuracy']['value'] == pytest.approx(
        sum(judged) / len(judged))


def test_every_interval_holds_its_value_and_every_share_is_one(made):
    metrics = [(name, found) for question in made[0]['questions'].values()
               for name, found in question['metrics'].items()]
    assert len(metrics) > 30
    for name, found in metrics:
        assert found['low'] <= found['value'] <= found['high'], name
        if name not in ('mean_absolute_error', 'edit_distance'):
            assert 0 <= found['low'] and found['high'] <= 1, name


def test_phrasings_are_told_apart(made):
    summary, rows = made
    found = summary['questions']['person']['phrasings']
    assert [p['prompt'] for p in found] == ['Is there a person?', 'Is anyone there?']
    for phrasing, one in enumerate(found):
        some = [row['score']['correct'] for row in rows['person'] if row['phrasing'] == phrasing]
        assert one['accuracy']['value'] == pytest.approx(sum(some) / len(some))


def test_a_question_without_truth_has_no_score(made):
    found = made[0]['questions']['free']
    assert found['scored'] == 0 and set(found['metrics']) == {'flip_rate'}


def test_a_failed_request_is_a_wrong_answer():
    asked = synthetic.question('sign', 'normalised')
    some = [row for row in synthetic.rows(40, right=1.0) if row['question'] == 'sign']
    some[3] = {**some[3], 'error_code': 6, 'text': '', 'score': None}
    some[4] = {**some[4], 'error_code': 6, 'text': '', 'score': None, 'truth': ''}
    found = summarise_question(asked, some)
    assert found['errors'] == 2 and found['scored'] == 40
    assert found['metrics']['accuracy']['value'] == 38 / 40
    assert found['metrics']['exact_match']['value'] == 38 / 40


def test_a_question_that_was_never_asked_or_once_is_no_trouble():
    asked = synthetic.questions()[0]
    assert summarise_question(asked, [])['metrics'] == {}
    once = summarise_question(asked, synthetic.rows(1)[:1])['metrics']
    assert once['accuracy'] == {'value': 1.0, 'low': None, 'high': None, 'n': 1}


def test_precision_is_undefined_where_nobody_said_yes():
    asked = synthetic.question('person', 'yes_no')
    some = [{**row, 'text': 'No.', 'truth': 'No.',
             'score': {'correct': True, 'said': 'no', 'expected': 'no'}}
            for row in synthetic.rows(9) if row['question'] == 'person']
    found = summarise_question(asked, some)['metrics']
    assert found['precision'] == {'value': None, 'low': None, 'high': None, 'n': 0}
    assert found['f1']['value'] is None


def test_confusions_of_numbers_are_in_the_order_of_numbers():
    table = confusion([{'expected': 10.0, 'said': 2.0}, {'expected': 2.0, 'said': None}], 'number')
    assert table == {'labels': ['2', '10', 'other'], 'counts': [[0, 0, 1], [1, 0, 0], [0, 0, 0]]}
