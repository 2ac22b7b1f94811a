# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ends the loading of a model that nobody waits for any more.

Loading may download and convert for minutes on the executor's thread, where Ctrl-C does not come.
What it tells of its progress is where it can be stopped: nothing of it is lost.
"""
import threading
from typing import Callable

from nanovlm_ros.engine.ends import CLOSING
from nanovlm_ros.types import NanoVlmError, Progress

_here = threading.local()


def stop_when(stopping: Callable[[], bool]) -> None:
    """Let what is guarded on this thread end as soon as `stopping()` is true."""
    _here.stopping = stopping


def guarded(progress: Progress) -> Progress:
    """Return a progress callback that raises SHUTTING_DOWN once loading is to stop."""
    def told(stage: str, done: int, total: int) -> None:
        if getattr(_here, 'stopping', bool)():
            raise NanoVlmError(*CLOSING[1:])
        progress(stage, done, total)
    return told
