# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Executors over a fake model."""
import sys
from pathlib import Path

import pytest

from nanovlm_ros.engine.executor import MlcExecutor

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from asker import PATIENCE, Asker, Gate  # noqa: E402
from fakes import FakeModel  # noqa: E402


@pytest.fixture
def make():
    """Return a function that starts an executor and returns (asker, model)."""
    executors = []

    def start(*arguments, queue_size=8, max_sequences=4, **options):
        model = FakeModel(*arguments, **options)
        executor = MlcExecutor(lambda: model, queue_size=queue_size, max_sequences=max_sequences)
        executors.append(executor)
        executor.start()
        return Asker(executor), model

    yield start
    for executor in executors:
        assert executor.shutdown(PATIENCE)


@pytest.fixture
def gate():
    """Return a Gate by stage; all are opened in the end."""
    gates = []

    def make_gate(stage):
        gates.append(Gate(stage))
        return gates[-1]

    yield make_gate
    for made in gates:
        made.open.set()
