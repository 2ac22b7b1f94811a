# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run measures of itself: busy and idle, over stops, kills and workers."""
import json
import time
from dataclasses import dataclass

import pytest
from recordings import FakeSpec, cut_rows

from nanovlm_ros.bag import measured as module
from nanovlm_ros.bag import run as run_module
from nanovlm_ros.bag.measured import Busy, Measured, Work


def read(folder):
    return json.loads((folder / 'measured.json').read_text())


@dataclass(frozen=True)
class SlowToLoad(FakeSpec):
    """An engine that takes its time to load."""

    def load(self):
        time.sleep(0.5)
        return super().load()


def test_an_engine_is_busy_while_it_has_any_question():
    busy = Busy()
    busy.began(2)
    time.sleep(0.02)
    busy.ended()
    assert busy.seconds >= 0.02  # the other one goes on
    busy.ended()
    before = busy.seconds
    time.sleep(0.02)
    assert busy.seconds == before
    busy.began()
    time.sleep(0.02)
    assert busy.seconds >= before + 0.02


@pytest.mark.parametrize('workers', [1, 2])
def test_planning_loading_asking_and_outputs_are_told_apart(
        options, evaluate, monkeypatch, workers):
    evaluate(options, engine=SlowToLoad(token_seconds=0.001), workers=workers)
    found = read(options.out)
    assert found['rows'] == 130 and found['workers'] == workers
    assert 0.5 <= found['loading_s'] < 5
    assert 0 < found['engine_idle_s'] < found['wall_s'] < 60
    assert found['planning_s'] > 0 and found['outputs_s'] >= 0


def test_idle_is_what_is_left_of_asking_for_every_worker(tmp_path, monkeypatch):
    clock = iter([100.0, 110.0])  # begins to ask, and ends
    monkeypatch.setattr(module.time, 'monotonic', lambda: next(clock))
    measured = Measured(tmp_path, 97.0, 2)
    measured.add(Work(busy_s=5.0, loading_s=2.0, peak_memory_mib=50_000))
    measured.add(Work(busy_s=4.0, loading_s=1.0))
    measured._rows = 7
    measured.end()
    # 20 s of two workers, less 3 s of loading, less 9 s of work: half of it is each one's.
    assert read(tmp_path) == {
        'rows': 7, 'wall_s': 8.5, 'engine_idle_s': 4.0, 'planning_s': 3.0, 'loading_s': 1.5,
        'outputs_s': 0.0, 'peak_memory_mib': 50_000, 'workers': 2}


def test_it_is_summed_over_stops_and_a_run_that_makes_no_row_adds_nothing(options, evaluate):
    evaluate(options)
    first = read(options.out)
    evaluate(options)
    assert read(options.out) == first
    cut_rows(options.out, 100)
    evaluate(options)
    second = read(options.out)
    assert second['wall_s'] > first['wall_s'] > 0 and second['rows'] == 160
    assert second['peak_memory_mib'] >= first['peak_memory_mib'] > 10


def test_while_it_asks_a_run_tells_what_it_measured_so_far(options, evaluate, monkeypatch):
    told, real = [], Measured.row

    def row(self):
        real(self)
        told.append(read(options.out))  # all that is left of it when it is killed now

    monkeypatch.setattr(module, 'EVERY_S', 0.0)
    monkeypatch.setattr(Measured, 'row', row)
    evaluate(options)
    assert [each['rows'] for each in told] == list(range(1, 131))
    assert 0 < told[0]['wall_s'] < told[-1]['wall_s'] and told[0]['peak_memory_mib'] > 10


def test_the_time_of_the_outputs_is_not_that_of_the_answers(options, monkeypatch):
    monkeypatch.setattr(run_module, '_finish', lambda out: time.sleep(0.3) or 0)
    began = time.monotonic()
    run_module.run(options)
    found = read(options.out)
    assert found['outputs_s'] >= 0.3
    assert sum(found[name] for name in ('planning_s', 'loading_s', 'wall_s', 'outputs_s')) == \
        pytest.approx(time.monotonic() - began, abs=0.1)
