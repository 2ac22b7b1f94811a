# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs take turns, the first does not count, and slow ones do not take for ever."""
import pytest

from nanovlm_ros.bench import samples
from nanovlm_ros.bench.samples import LEAST, PATIENCE, SLOW, in_ms, take_turns


@pytest.fixture
def runs(monkeypatch):
    """Return a maker of runs that take the seconds they are told, of a clock that they move."""
    now = [0.0]
    monkeypatch.setattr(samples.time, 'monotonic', lambda: now[0])

    def make(*seconds, log=None, name=''):
        left = list(seconds)

        def run():
            took = left.pop(0) if len(left) > 1 else left[0]
            now[0] += took
            if log is not None:
                log.append(name)
            return took
        return run
    return make


def test_they_take_turns_and_the_first_is_not_counted(runs):
    log = []
    found = take_turns({'a': runs(1.5, 0.1, log=log, name='a'),
                        'b': runs(0.9, 0.2, log=log, name='b')}, 4)
    assert log == ['a', 'b'] * 5
    assert found == {'a': [0.1] * 4, 'b': [0.2] * 4}


def test_slow_runs_are_few(runs):
    found = take_turns({'a': runs(PATIENCE / 3.5), 'b': runs(PATIENCE / 3.5)}, 100)
    assert len(found['a']) == len(found['b']) == 4


def test_the_slowest_run_as_often_as_a_median_needs_with_the_first(runs):
    assert take_turns({'a': runs(9 * SLOW, 8 * SLOW)}, 100)['a'] == [
        9 * SLOW, 8 * SLOW, 8 * SLOW]
    assert len(take_turns({'a': runs(10 * PATIENCE)}, 100)['a']) == LEAST
    assert len(take_turns({'a': runs(10 * PATIENCE)}, 1)['a']) == 1


def test_what_is_kept_is_the_median_and_the_spread():
    assert in_ms([0.003, 0.001, 0.0100004]) == {
        'unit': 'ms', 'median': 3.0, 'min': 1.0, 'max': 10.0, 'runs': 3}
