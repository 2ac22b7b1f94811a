# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Actors of a Ray cluster, by a Ray that is not one: who is started where, and what may fail."""
import sys
from types import SimpleNamespace

import pytest
from recordings import FakeSpec

from nanovlm_ros.bag.ray_pool import RayPool, cores_each
from nanovlm_ros.types import NanoVlmError


class RayError(Exception):
    """As ray.exceptions.RayError, of which all others are."""


class FakeRay:
    """Machines with some cores, and actors that only remember how they were started."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, *cores, result=None):
        self.cores, self.result = cores, result
        self.started, self.killed, self.over = [], [], False

    def init(self, **_):
        pass

    def nodes(self):
        return [{'Alive': True, 'Resources': {'CPU': float(n)}} for n in self.cores] + [
            {'Alive': False, 'Resources': {'CPU': 99.0}}, {'Alive': True, 'Resources': {}}]

    def remote(self, **options):
        def options_of(runtime_env):
            def start(*_):
                self.started.append({**options, **runtime_env['env_vars']})
                return SimpleNamespace(do=SimpleNamespace(remote=lambda part: object()))
            return SimpleNamespace(remote=start)
        return lambda desk: SimpleNamespace(options=options_of)

    def wait(self, references, num_returns):
        return references[:num_returns], references[num_returns:]

    def get(self, reference):
        raise self.result

    def kill(self, actor):
        self.killed.append(actor)

    def shutdown(self):
        self.over = True


@pytest.fixture
def pool(monkeypatch):
    def make(ray, size):
        monkeypatch.setitem(sys.modules, 'ray', ray)
        for name in ('OMP_NUM_THREADS', 'TVM_NUM_THREADS'):
            monkeypatch.delenv(name, raising=False)
        return RayPool(FakeSpec(), 'c0ffee', size, 'auto')
    return make


@pytest.mark.parametrize('nodes, size, each', [
    ([8], 2, 4), ([8], 3, 2), ([8, 2], 2, 4), ([8, 2], 3, 2), ([1, 1], 2, 1), ([1, 1], 3, 0),
    ([], 1, 0)])
def test_each_worker_gets_the_most_cores_that_fit_on_the_machines(nodes, size, each):
    assert cores_each(nodes, size) == each


def test_a_worker_has_as_many_threads_as_cores_on_its_machine(pool):
    ray = FakeRay(8, 2)
    with pool(ray, 3):
        assert ray.started == 3 * [
            {'num_cpus': 2, 'max_restarts': 0, 'OMP_NUM_THREADS': '2', 'TVM_NUM_THREADS': '2'}]


def test_more_workers_than_cores_are_refused_and_nothing_is_left(pool):
    ray = FakeRay(2, 1)
    with pytest.raises(NanoVlmError, match='has 3 CPUs, .* 4 workers .* give --workers 3 or fewer'):
        with pool(ray, 4):
            pass
    assert ray.over and not ray.started


def test_whatever_fails_in_ray_is_a_worker_that_died_and_is_replaced(pool):
    ray = FakeRay(2, result=RayError('The object was lost.'))
    with pool(ray, 1) as made:
        made.give(7, None)
        assert made.wait() == [(7, None)]
        assert made.free() and len(ray.started) == 2 and len(ray.killed) == 1
