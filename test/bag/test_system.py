# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Times, rates and drops of a run."""
import statistics

import pytest
import synthetic

from nanovlm_ros.bag.system import recorded_seconds, summarise_system

MEASURED = {'rows': 400, 'wall_s': 20.0, 'engine_idle_s': 1.0, 'peak_memory_mib': 512.0,
            'workers': 1}


@pytest.fixture(scope='module')
def rows():
    return synthetic.rows(100)


def test_percentiles_of_the_times_have_intervals(rows):
    found = summarise_system(rows, [], synthetic.run(rows))['times']
    series = sorted(row['measured']['total_s'] for row in rows)
    assert found['total_s']['p50']['value'] == pytest.approx(statistics.median(series))
    assert found['total_s']['p99']['value'] == pytest.approx(
        statistics.quantiles(series, n=100, method='inclusive')[98])
    for percentile in found['first_token_s'].values():
        assert percentile['low'] <= percentile['value'] <= percentile['high']
        assert percentile['n'] == len(rows)
    assert 'age_s' not in found  # a throughput run has none


def test_tokens_per_second_leave_out_the_token_of_the_prefill(rows):
    found = summarise_system(rows, [], synthetic.run(rows))['metrics']['tokens_per_second']
    assert found['value'] == pytest.approx(
        sum(row['completion_tokens'] - 1 for row in rows)
        / sum(row['measured']['decode_s'] for row in rows))
    assert found['low'] < found['value'] < found['high']


def test_the_real_time_factor_is_of_what_was_looked_at(rows):
    run = synthetic.run(rows)
    length = (run['bags'][0]['end_ns'] - run['bags'][0]['start_ns']) / 1e9
    found = summarise_system(rows, [], run, MEASURED)['metrics']
    # 400 of the 800 rows were timed: the others were made before a kill.
    assert found['real_time_factor']['value'] == pytest.approx(40 / length)
    assert found['answers_per_second']['value'] == 20
    assert found['engine_idle_share']['value'] == 0.05
    assert found['peak_memory_mib']['value'] == 512
    assert recorded_seconds({**run, 'sampling': {'start_s': 2.0, 'end_s': 5.0}}) == 3
    assert recorded_seconds({**run, 'sampling': {'start_s': 2.0, 'end_s': None}}) == \
        pytest.approx(length - 2)


def test_what_was_not_measured_is_absent(rows):
    bare = [{**row, 'measured': {}} for row in rows]
    assert summarise_system(bare, [], synthetic.run(rows)) == {
        'times': {}, 'metrics': {}, 'dropped': None}


def test_failed_requests_do_not_count_as_fast(rows):
    failed = [{**row, 'error_code': 5, 'measured': {'total_s': 0.0}} for row in rows[:50]]
    found = summarise_system([*failed, *rows[50:]], [], synthetic.run(rows))['times']
    assert found['total_s']['p50']['n'] == len(rows) - 50
    assert found['total_s']['p50']['value'] > 0.03


def test_drops_are_counted_by_reason_and_question(rows):
    kept, dropped = synthetic.as_replay(rows)
    kept[0] = {**kept[0], 'error_code': 3}
    found = summarise_system(kept, dropped, synthetic.run(rows, 'replay'))['dropped']
    assert found['due'] == 100 * 7 and found['answered'] == 34 * 7 and found['dropped'] == 66 * 7
    assert sum(found['reasons'].values()) == 66 * 7 and set(found['reasons']) == {'busy', 'stale'}
    assert found['questions']['person'] == 66  # both phrasings are one
    assert found['stale_answers'] == 1
    assert found['metrics']['dropped_share']['value'] == pytest.approx(0.66)


def test_a_replay_has_the_age_of_pictures(rows):
    kept, dropped = synthetic.as_replay(rows)
    found = summarise_system(kept, dropped, synthetic.run(rows, 'replay'))
    assert found['times']['age_s']['p50']['value'] > 0.09


def test_a_replay_that_drops_nothing_says_so(rows):
    found = summarise_system(rows, [], synthetic.run(rows, 'replay'))['dropped']
    assert found['dropped'] == 0 and found['metrics']['dropped_share']['high'] <= 3 / 700 + 1e-9
