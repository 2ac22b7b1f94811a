# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the engine does is timed as a whole, on the device's clock, and without its preparation."""
import pytest
from fakes import FakeModel, gray

from nanovlm_ros.bench import engine, sharing
from nanovlm_ros.bench.samples import SLOW
from nanovlm_ros.types import Answer, Timings


class SlowExecutor:
    """Answers at once, and says that each answer took long, the first one longest."""

    def __init__(self, load):
        self._load, self._asked = load, 0

    def start(self):
        self._load()

    def submit(self, query, on_chunk, on_answer):
        self._asked += 1
        took = 9 * SLOW / self._asked + SLOW
        on_answer(Answer(query.request_id, query.prompt, finish_reason='stop', prompt_tokens=7,
                         completion_tokens=5, timings=Timings(
                             total=took, first_token=took / 2, vision=1.0, prefill=1.0,
                             decode=1.0)))

    def shutdown(self):
        pass


@pytest.mark.parametrize('repeat', [1, 2])
def test_parts_of_answers_are_of_the_same_runs_as_the_whole_with_slow_models_too(
        repeat, monkeypatch):
    monkeypatch.setattr(engine, 'MlcExecutor', SlowExecutor)
    measured = engine.measure_engine(
        lambda: FakeModel(max_images=2), repeat, False)['measured']
    for name in ('fresh', 'cached'):
        whole, part = measured[f'{name}_answer'], measured[f'{name}_first_token']
        assert whole['runs'] == part['runs'] == repeat
        assert part['max'] == pytest.approx(whole['max'] / 2, rel=1e-3)
    assert measured['answer_decode']['runs'] == repeat


def test_windows_are_timed_by_the_clock_of_the_device_without_the_making_of_pictures(monkeypatch):
    devices, running = [], []

    class Clock:
        def __init__(self, device):
            devices.append(device.type)

        def __call__(self, work):
            running.append(True)
            work()
            running.pop()
            return 0.5

    def picture():
        assert not running
        return gray(next(values))

    values = iter(range(100))
    monkeypatch.setattr(sharing, 'Clock', Clock)
    found = sharing.measure_sharing(lambda: FakeModel(max_images=3), 2, picture)
    assert [found[f'{name}_ms'] for name in (
        'vision_and_one_prefill', 'rolling_2', 'exact_2')] == [500.0] * 3
    assert devices == ['cpu'] * 3 and found['query_first_token_idle_ms'] > 0
