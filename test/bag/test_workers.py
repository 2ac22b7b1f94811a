# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shards on several workers: the rows of one, whatever dies."""
import json
import os
import signal
import sys
import threading
import time

import pytest
from recordings import FakeSpec, read_lines

from nanovlm_ros.bag import workers as module
from nanovlm_ros.bag.run import Run
from nanovlm_ros.bag.workers import LocalPool, coordinate, cut
from nanovlm_ros.types import ErrorCode, NanoVlmError


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(module, 'SHARD_ROWS', (8, 20))


def test_shards_cover_every_row_once_and_keep_images_together(options):
    plans = Run(options).plans
    for done in (0, 1, 60, 130):
        shards = cut(plans, done, 2)
        rows = [n for s in shards for n in range(s.begin, s.end)]
        assert rows == list(range(done, 130))
        for before, after in zip(shards, shards[1:]):
            asks = before.plan.asks
            assert asks[before.end - 1].trigger != asks[after.begin].trigger


def test_two_workers_make_the_rows_of_one(options, evaluate, tmp_path):
    evaluate(options)
    evaluate(options, out=tmp_path / 'two', workers=2)
    assert read_lines(options.out / 'results.jsonl') == read_lines(
        tmp_path / 'two' / 'results.jsonl')
    assert json.loads((tmp_path / 'two' / 'measured.json').read_text())['workers'] == 2


def test_what_a_dead_worker_had_is_done_by_another(options, evaluate):
    run = Run(options)
    evaluate(options)
    made = []

    with LocalPool(FakeSpec(token_seconds=0.002), run.config, 2) as pool:
        victim = pool.pids[0]

        def on_done(done):
            made.extend(done.rows)
            if len(made) < 40 and victim in pool.pids:
                os.kill(victim, signal.SIGKILL)

        coordinate(cut(run.plans, 0, 2), pool, on_done)
        assert victim not in pool.pids
    expected = read_lines(options.out / 'results.jsonl')
    assert [(r['log_ns'], r['question'], r['phrasing'], r['text']) for r in made] == [
        (r['log_ns'], r['question'], r['phrasing'], r['text']) for r in expected]


def test_questions_that_kill_every_worker_end_the_run(options):
    run = Run(options)
    with LocalPool(FakeSpec(token_seconds=0.01), run.config, 1) as pool:
        over = threading.Event()

        def kill():
            while not over.wait(0.05):
                for pid in pool.pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with pytest.raises(NanoVlmError, match='3 workers died of the same questions'):
                coordinate(cut(run.plans, 0, 1), pool, lambda done: None)
        finally:
            over.set()
            killer.join()


class FakePool:
    """Does shards in this process, the newest first."""

    size = 2

    def __init__(self, error=None):
        self.given, self.error = [], error

    def free(self):
        return len(self.given) < 3

    def give(self, number, part):
        self.given.append(number)

    def wait(self):
        number = self.given.pop()
        error = (int(ErrorCode.BAD_IMAGE), 'It broke.') if number == self.error else None
        return [(number, module.Done([{'shard': number}], error))]


def test_rows_are_handed_on_in_order_whatever_is_done_first(options):
    shards, seen = cut(Run(options).plans, 0, 2), []
    coordinate(shards, FakePool(), lambda done: seen.extend(r['shard'] for r in done.rows))
    assert seen == list(range(len(shards)))


def test_an_error_comes_after_the_rows_before_it(options):
    shards, seen = cut(Run(options).plans, 0, 2), []
    with pytest.raises(NanoVlmError, match='It broke'):
        coordinate(shards, FakePool(error=2), lambda done: seen.extend(done.rows))
    assert [row['shard'] for row in seen] == [0, 1, 2]


def test_workers_share_the_cores_and_leave_what_the_user_set(monkeypatch):
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('TVM_NUM_THREADS', '3')
    with module.threads_for(4):
        assert (os.environ['OMP_NUM_THREADS'], os.environ['TVM_NUM_THREADS']) == ('2', '3')
    assert 'OMP_NUM_THREADS' not in os.environ


def test_ray_workers_make_the_rows_of_one_and_a_dead_one_is_replaced(
        options, evaluate, monkeypatch):
    pytest.importorskip('ray', reason='Ray is the optional extra `ray`')
    from nanovlm_ros.bag.ray_pool import RayPool

    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(sys.path))  # recordings
    evaluate(options)
    run, made, killed = Run(options), [], []
    with RayPool(FakeSpec(token_seconds=0.002), run.config, 2, 'local') as pool:
        def on_done(done):
            made.extend(done.rows)
            if not killed and pool._busy:
                killed.append(next(iter(pool._busy.values()))[0])
                pool._ray.kill(killed[0])

        coordinate(cut(run.plans, 0, 2), pool, on_done)
    assert killed
    expected = read_lines(options.out / 'results.jsonl')
    assert [(r['log_ns'], r['question'], r['phrasing'], r['text']) for r in made] == [
        (r['log_ns'], r['question'], r['phrasing'], r['text']) for r in expected]


def test_a_ray_that_is_not_there_is_a_sentence(options, evaluate):
    pytest.importorskip('ray', reason='Ray is the optional extra `ray`')
    began = time.monotonic()
    with pytest.raises(NanoVlmError, match='There is no Ray at'):
        evaluate(options, workers=2, ray='nonsense')
    assert time.monotonic() - began < 60
