# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A node with a fake model, spun on a thread, and a client beside it."""
import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from harness import Client, Gate, Robot  # noqa: E402


@pytest.fixture(scope='session', autouse=True)
def ros():
    """Initialise rclpy once for the process."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    yield
    rclpy.shutdown()


@pytest.fixture
def make_robot():
    """Return a function that starts a node; arguments as Robot's."""
    gc.collect()  # a destroyed lifecycle node stays in the graph until it is collected
    robots = []

    def make(*arguments, **parameters):
        robots.append(Robot(*arguments, **parameters))
        return robots[-1]

    yield make
    for robot in robots:
        robot.close()


@pytest.fixture
def client():
    """Return another node, which asks and listens."""
    made = Client()
    yield made
    made.close()


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
