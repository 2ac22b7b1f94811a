# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything at once, in virtual time and in an order that a seed decides: nothing is lost."""
import random
from collections import Counter

import pytest
from desk import LONG, Desk
from fakes import broken_frame, gray

from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.types import ErrorCode, NanoVlmError


class Chaos:
    """Does to a desk what may happen, in an order that the seed decides."""

    def __init__(self, seed):
        self.choose = random.Random(seed)
        self.desk = Desk(max_sequences=3, queue_size=6, rows=1200)
        self.frames = [gray(number) for number in range(20, 24)]
        self.windows = {name: FrameWindow(4, 0, max_rolls) for name, max_rolls in
                        (('front', 3), ('rear', 0), ('exact', None))}
        self.tickets, self.asked = [], 0

    def act(self):
        what, = self.choose.choices(
            [self.ask, self.tick, self.cancel, self.image, self.reset, self.nothing],
            [20, 4, 6, 12, 0.3, 40])
        what()

    def fields(self):
        choose = self.choose
        fields = {'tokens': choose.randint(1, 40)}
        kind = choose.random()
        if kind < 0.3:
            fields['frames'] = tuple(choose.choices(self.frames, k=choose.randint(1, 3)))
        elif kind < 0.6:
            window = self.windows[choose.choice(list(self.windows))]
            fields['frames'] = window.last()
            if window.generations() and choose.random() < 0.9:
                fields['generation'] = window.generations()[0][0]
        if choose.random() < 0.1:
            fields['deadline'] = self.desk.clock() + choose.uniform(0, 2)
        return fields

    def prompt(self):
        self.asked += 1
        text = self.choose.choice(['what? ', 'what is it? ', LONG[:250]]) + str(self.asked)
        if self.choose.random() < 0.1:
            self.desk.model.breaks[text] = self.choose.choice(
                ['tokenize', 'preprocess', 'open', 'prefill', 'decode', 'sample'])
        return text

    def ask(self):
        try:
            self.tickets.append(self.desk.ask(
                self.prompt(), keep_history=self.choose.random() < 0.2, **self.fields()))
        except NanoVlmError as error:  # it was not accepted, so it has no end
            assert error.code == ErrorCode.QUEUE_FULL

    def tick(self):
        self.tickets += self.desk.tick(*(self.prompt() for _ in range(3)), **self.fields())

    def cancel(self):
        if self.tickets:
            self.choose.choice(self.tickets[-8:]).cancel()

    def image(self):
        name = self.choose.choice(list(self.windows))
        frame = broken_frame() if self.choose.random() < 0.1 else gray(self.choose.randint(0, 9))
        self.windows[name].add(frame, 0)
        self.desk.watched.put(name, self.windows[name].generations(), name != 'exact')

    def reset(self):
        self.desk.scheduler.forget()

    def nothing(self):
        """Let it work."""


@pytest.mark.parametrize('seed', [1, 2])
def test_over_2000_random_turns_each_request_ends_once_and_no_row_leaks(seed):
    chaos = Chaos(seed)
    desk = chaos.desk
    for _ in range(2000):
        chaos.act()
        desk.turn()
    desk.finish()  # each one ended once, its chunks are whole, and all rows are free
    ends = Counter()
    for ticket in chaos.tickets:
        answer = desk.answer(ticket)
        ends[answer.finish_reason, answer.error_code.name] += 1
        if not desk.request(ticket).query.keep_history:
            assert answer.error_code or answer.text == desk.expected(ticket)
    # All of it did happen.
    assert {code for _, code in ends} >= {
        'NONE', 'CANCELED', 'TIMEOUT', 'MODEL_ERROR', 'OUT_OF_MEMORY'}, ends
    assert ends['length', 'NONE'] > 100, ends
