# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of the demo: live prompts on the running camera, and an event made of their answers."""
from typing import Dict

PROMPTS = ['Is there a person?', 'Describe the scene.']
EVENT = 'person'
RULES = '{"name": "person", "prompt": "Is there a person?", "text": "^yes"}'
SECONDS = 6.0
RATE = 10.0  # Hz, that of the camera


class Diary:
    """Prints what is new in the live answers and events; counts the answers."""

    def __init__(self, begin_ns: int, period_ns: int):
        self._begin, self._period = begin_ns, period_ns
        self._said: Dict[str, str] = {}
        self._active = False
        self.answered: Dict[str, int] = {prompt: 0 for prompt in PROMPTS}

    def on_answer(self, answer) -> None:
        """Take note of a live answer."""
        if answer.prompt not in self.answered or answer.error_code:
            return
        self.answered[answer.prompt] += 1
        if self._said.get(answer.prompt) != answer.text:
            self._said[answer.prompt] = answer.text
            print(f'{self._time(answer.header.stamp)}  {answer.prompt} {answer.text}')

    def on_event(self, event) -> None:
        """Take note of an event."""
        if event.active != self._active:
            self._active = event.active
            stamp, word = (event.begin, 'begins') if event.active else (event.end, 'ends')
            print(f'{self._time(stamp)}  event {event.name!r} {word}')

    def rate(self, seconds: float) -> float:
        """Return the images a second about which all prompts were answered [Hz]."""
        return min(self.answered.values()) / seconds

    def _time(self, stamp) -> str:
        at = stamp.sec * 1_000_000_000 + stamp.nanosec - self._begin
        return f'{at % self._period / 1e9:5.1f} s'


def watch(client, begin_ns: int, period_ns: int) -> float:
    """Let the node watch the camera for a while; return the rate [Hz]."""
    print(f'\nLive: {" ".join(PROMPTS)}')
    diary = Diary(begin_ns, period_ns)
    client.watch(PROMPTS, SECONDS, diary.on_answer, EVENT, diary.on_event)
    return diary.rate(SECONDS)
