# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A client's wish to stop, whatever its request is waiting for."""
from typing import Callable, List


class Cancellation:
    """Used on the ROS thread alone; an action added late is called at once."""

    def __init__(self):
        self.requested = False
        self._actions: List[Callable[[], object]] = []

    def cancel(self) -> None:
        """Call every action."""
        self.requested = True
        for action in self._actions:
            action()

    def on_cancel(self, action: Callable[[], object]) -> None:
        """Have an action called when the client cancels."""
        self._actions.append(action)
        if self.requested:
            action()
