# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Intervals hold the truth as often as they say, for neighbours that are alike as well."""
import time

import numpy as np
import pytest

from nanovlm_ros.bag import bootstrap
from nanovlm_ros.bag.metrics import ratio


def mean_interval(series, **options):
    columns = np.column_stack([series, np.ones(len(series))])
    return bootstrap.of_sums(columns, ratio(0, 1), **options)


def sticky(random, n, stay=0.95, share=0.9):
    """Return 0 and 1 that stay as they are for 1 / (1 - stay) steps on average."""
    fresh = random.random(n) > stay
    values = (random.random(n) < share).astype(float)
    last = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    return values[last]


def test_an_interval_of_independent_values_is_that_of_the_normal_law():
    series = np.random.default_rng(1).normal(5, 2, 2000)
    low, high = mean_interval(series)
    error = 1.96 * series.std() / np.sqrt(len(series))
    assert (low, high) == pytest.approx((series.mean() - error, series.mean() + error), abs=0.02)


def test_blocks_of_one_and_resampling_by_index_give_the_same_law():
    series = np.random.default_rng(2).random(300)
    index = np.random.default_rng(3).integers(0, 300, (4000, 300))
    expected = np.percentile(series[index].mean(axis=1), [2.5, 97.5])
    assert mean_interval(series, length=1, resamples=4000) == pytest.approx(expected, abs=0.003)


def test_block_sums_are_those_of_the_blocks_themselves():
    series = np.arange(10.0)
    starts = np.random.default_rng(bootstrap.SEED).integers(0, 10, (500, 3))  # 4 + 4 + 2 of 10
    index = (starts[:, :, None] + np.arange(4)).reshape(500, -1)[:, :10] % 10
    expected = np.percentile(series[index].mean(axis=1), [2.5, 97.5])
    assert mean_interval(series, length=4, resamples=500) == pytest.approx(expected)


def test_percentiles_use_the_same_blocks():
    series = np.random.default_rng(4).random(50)
    length = bootstrap.block_length(series)
    starts = np.random.default_rng(bootstrap.SEED).integers(0, 50, (1000, -(-50 // length)))
    index = (starts[:, :, None] + np.arange(length)).reshape(1000, -1)[:, :50] % 50
    expected = np.percentile(np.median(series[index], axis=1), [2.5, 97.5])
    assert bootstrap.of_percentiles(series, [50])[0] == pytest.approx(expected)


def test_a_night_of_answers_takes_seconds_and_has_the_interval_of_the_normal_law():
    n = 400_000
    series = np.random.default_rng(6).random(n)
    began = time.process_time()
    (low, high), = bootstrap.of_percentiles(series, [50])
    assert time.process_time() - began < 20
    error = 1.96 * 0.5 / np.sqrt(n)
    assert (low, high) == pytest.approx(
        (np.median(series) - error, np.median(series) + error), abs=0.25 * error)
    assert bootstrap.block_length(series) == n // bootstrap.MOST_BLOCKS


def test_the_interval_of_sticky_answers_holds_the_truth_as_often_as_it_says():
    random, held, naive = np.random.default_rng(5), 0, 0
    for _ in range(120):
        series = sticky(random, 1500, stay=0.9)
        low, high = mean_interval(series, resamples=300)
        held += low <= 0.9 <= high
        low, high = mean_interval(series, length=1, resamples=300)
        naive += low <= 0.9 <= high
    assert held >= 0.86 * 120   # 95 % but for the bootstrap's own error at this length
    assert naive <= 0.75 * 120  # as if each stamp were news: far too sure


def test_the_length_of_blocks_follows_the_correlation():
    random = np.random.default_rng(6)
    alone = bootstrap.block_length(random.random(3000))
    together = bootstrap.block_length(sticky(random, 3000, stay=0.95))
    assert alone <= 5 < 20 <= together <= 3 * np.sqrt(3000)
    assert bootstrap.block_length(np.ones(100)) == 1


def test_the_same_series_gives_the_same_interval():
    series = np.random.default_rng(7).random(500)
    assert mean_interval(series) == mean_interval(series)
    assert mean_interval(series) != mean_interval(series, seed=1)


def test_chunks_do_not_change_the_result(monkeypatch):
    series = np.random.default_rng(8).random(400)
    whole = bootstrap.of_percentiles(series, [50, 95]), mean_interval(series)
    monkeypatch.setattr(bootstrap, '_CHUNK', 400 * 7)
    assert (bootstrap.of_percentiles(series, [50, 95]), mean_interval(series)) == whole


@pytest.mark.parametrize('n', [0, 1])
def test_too_few_values_have_no_interval(n):
    assert mean_interval(np.ones(n)) is None
    assert bootstrap.of_percentiles(np.ones(n), [50]) == [None]


def test_a_ratio_that_is_never_defined_has_no_interval():
    assert bootstrap.of_sums(np.zeros((10, 2)), ratio(0, 1)) is None


def test_no_error_among_n_leaves_room_for_three():
    assert bootstrap.widened((1.0, 1.0), 1.0, 300) == (0.99, 1.0)
    assert bootstrap.widened((0.0, 0.0), 0.0, 300) == (0.0, 0.01)
    assert bootstrap.widened((0.8, 0.9), 0.85, 300) == (0.8, 0.9)
    assert bootstrap.widened((1.0, 1.0), 1.0, 2) == (0.0, 1.0)
