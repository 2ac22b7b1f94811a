# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which rolling windows have rows in the KV cache."""
from typing import Callable, Dict, List, Optional, Sequence

from nanovlm_ros.engine.rolling_window import RollingWindow
from nanovlm_ros.types import Frame

Held = Dict[int, RollingWindow]  # of one window, by generation


class HeldWindows:
    """The generations of each window, by its name."""

    def __init__(self):
        self._windows: Dict[str, Held] = {}

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def roll(self, window: str, wanted: Dict[int, Sequence[Frame]], system_prompt: str,
             new: Callable[[], RollingWindow]) -> Held:
        """Return the generations that a window is to have from now on.

        Those that can roll to the frames `wanted` of them do, and the others give their rows
        back; `new` makes what takes their places.
        """
        held = self._windows.setdefault(window, {})
        for number in list(held):
            kept = held[number].system_prompt == system_prompt and number in wanted
            if not kept or not held[number].roll_to(wanted[number]):
                held.pop(number).remove()
        for number in wanted:
            if number not in held:
                held[number] = new()
        return held

    def generation(self, number: int) -> List[RollingWindow]:
        """The rolling window of a generation, in a list that is empty where there is none."""
        return [held[number] for held in self._windows.values() if number in held]

    def forget(self, spare: Optional[Held] = None) -> bool:
        """Give the rows of a window other than `spare` back; False if there is none."""
        for held in self._windows.values():
            if held and held is not spare:
                remove(held)
                return True
        return False


def remove(held: Held) -> None:
    """Give the rows of a window back."""
    while held:
        held.popitem()[1].remove()
