# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames that wait to join the windows of cameras; any thread puts, the executor's works."""
import logging
import threading
from typing import Dict, Optional, Sequence, Tuple

from nanovlm_ros.engine.window import Generation

LOG = logging.getLogger(__name__)
State = Tuple[Tuple[Generation, ...], bool, str]  # see `Watched.put`


class Watched:
    """The newest state of each window, until the model has caught up with it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._pending: Dict[str, State] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, window: str, generations: Sequence[Generation], rolling: bool,
            system_prompt: str = '') -> None:
        """A window holds these now; a state that still waits is of no interest any more."""
        with self._lock:
            self._pending[window] = (tuple(generations), rolling, system_prompt)

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._pending.clear()

    def work(self, model, limit: int, asked: Optional[Generation] = None) -> bool:
        """Work for the window that waits longest: an image, at most `limit` rows of prompts.

        False if there is none.
        When one is `asked` about, for that one only, and only while it is to hold these very
        frames: a window that goes on would drop the oldest. A frame that cannot join costs its
        window's rows, no more: questions about the window are then answered without them.
        """
        with self._lock:
            window = next((name for name, (generations, *_) in self._pending.items()
                           if asked is None or asked in generations), None)
            if window is None:
                return False
            state = self._pending.pop(window)
        try:
            complete = model.watch(window, *state, limit)
        except Exception as error:
            LOG.warning('A frame could not join the window of camera %r: %s', window, error)
            complete = True
        with self._lock:
            if not complete:  # the others take their turns; a newer state has come, perhaps
                self._pending.setdefault(window, state)
        return True
