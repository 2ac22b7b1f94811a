# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A camera that is faster than the model: memory stays, the newest image is used, ticks count."""
import gc
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fakes import FakeModel
from harness import wait_until

from nanovlm_ros.msg import Answer, ModelStatus, Query

SECONDS = 20
MIB = 1 << 20
IMAGE = 640 * 480 * 3


@pytest.fixture
def camera():
    """A process that publishes 640x480 at 30 Hz on /image; its frame_id is a counter."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name('process.py')), 'camera'])
    yield process
    process.terminate()
    process.wait(20)


@pytest.fixture
def small_heap():
    """Take what earlier tests left out of the collector's way: each pass would stop the node."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_a_fast_camera_and_a_slow_model_cost_no_memory_and_no_age(
        small_heap, make_robot, client, camera):
    status = []
    client.call(lambda: client.node.create_subscription(
        ModelStatus, '/nanovlm/status', status.append, 10))
    robot = make_robot(
        FakeModel(lambda turns: ' 0123456789', token_seconds=0.05),
        live__enabled=True, live__rate=20.0, live__prompts=['live'])
    eye = next(iter(robot.node.runtime.cameras))
    wait_until(lambda: eye.received > 30, 'the camera')
    for _ in range(3):  # what is made once is made now
        assert client.ask(image_source=Query.LATEST).error_code == 0
    me, readings, asked = psutil.Process(), [], []
    received, end = eye.received, time.monotonic() + SECONDS
    while time.monotonic() < end:
        asked.append(client.ask('ask', image_source=Query.LATEST))
        gc.collect()
        readings.append(me.memory_info().rss)
    came = eye.received - received

    # Every image of 600 that was kept would show as 0.9 MiB; a tenth of them would be 55.
    third = len(readings) // 3
    assert third >= 3
    assert min(readings[-third:]) - min(readings[:third]) < 20 * MIB
    assert came > SECONDS * 30 / 2, 'the camera was not heard; is the transport set?'

    ticks = [a for a in client.answers if a.request_id.startswith('live-')]
    # A tick that waited was replaced by a newer one, and says so.
    assert {a.error_code for a in ticks} <= {Answer.ERROR_NONE, Answer.ERROR_CANCELED}
    live = [a for a in ticks if a.error_code == Answer.ERROR_NONE]
    assert len(live) > 5 and all(a.error_code == Answer.ERROR_NONE for a in asked)
    # The age of a frame when it was chosen, not when it was answered: the answers take 0.6 s.
    ages = sorted(a.images[0].age for a in [*asked, *live])
    assert ages[len(ages) // 2] < 0.3 and ages[0] >= 0
    for answers in (asked, live):
        numbers = [int(a.header.frame_id) for a in answers]
        assert numbers == sorted(set(numbers)), 'each answer is about a newer image'
        # Far fewer were used than came: the others were dropped, not queued.
        assert len(numbers) < came / 5
    # 20 ticks a second, of which the model has time for two at most.
    missed = robot.node.runtime.live_missed + robot.node.runtime.executor.stats().live_missed
    assert missed > SECONDS * 5
    wait_until(lambda: status and status[-1].live_missed >= missed, 'the count in the status')
