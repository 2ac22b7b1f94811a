# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A window holds the frames it promises: by their stamps, and none that saw one that is gone."""
import math

import numpy as np
import pytest
from fakes import broken_frame, gray

from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.types import Frame, NanoVlmError

SECOND = 1_000_000_000


def fill(window, stamps):
    """Add frames with these stamps in s; return the stamps that `last` gives after each."""
    seen = []
    for stamp in stamps:
        window.add(gray(1, stamp_ns=round(stamp * SECOND)))
        seen.append(held(window))
    return seen


def held(window, count=0):
    return [frame.stamp_ns / SECOND for frame in window.last(count)]


def lengths(window, count):
    return [len(stamps) for stamps in fill(window, range(1, count + 1))]


class Shadow:
    """What each generation has ever taken, by its number."""

    def __init__(self, window):
        self.window, self.ever = window, {}

    def add(self, frame):
        """Add a frame; every generation that is there now took it."""
        self.window.add(frame)
        for number, frames in self.window.generations():
            assert frames[-1] is frame
            self.ever.setdefault(number, []).append(frame)

    def dropped(self):
        """How many frames each generation has seen and does not hold any more."""
        return {number: len(self.ever[number]) - len(frames)
                for number, frames in self.window.generations()}

    def check(self):
        """A generation holds the newest of what it took, in order."""
        for number, frames in self.window.generations():
            assert list(frames) == self.ever[number][-len(frames):]


# -- sampling -----------------------------------------------------------------------------------

@pytest.mark.parametrize('frames, period', [
    (0, 1), (-1, 1), (8, -0.1), (8, math.nan), (8, math.inf)])
def test_a_window_that_cannot_be_is_a_sentence(frames, period):
    with pytest.raises(ValueError, match='cannot be; it needs 1 frame or more'):
        FrameWindow(frames, period)


def test_frames_are_due_a_period_after_the_newest_by_their_stamps():
    window = FrameWindow(4, 0.5)
    assert window.due(0) and window.due(7 * SECOND)
    window.add(gray(1, stamp_ns=7 * SECOND))
    due = [window.due(round(at * SECOND)) for at in (7, 7.2, 7.499999, 7.5, 8, 100)]
    assert due == [False, False, False, True, True, True]


def test_a_frame_of_another_camera_empties_the_window():
    window = FrameWindow(4, 0)
    fill(window, (1, 2))
    window.add(gray(1, stamp_ns=3 * SECOND, frame_id='rear'))
    assert held(window) == [3]
    window.add(Frame.from_rgb(np.zeros((4, 4, 3), np.uint8), stamp_ns=4 * SECOND, frame_id='rear'))
    assert held(window) == [4]
    window.add(Frame.from_rgb(np.zeros((4, 4, 3), np.uint8), stamp_ns=5 * SECOND, frame_id='rear'))
    assert held(window) == [4, 5]


def test_a_camera_is_sampled_at_the_period_whatever_its_rate():
    window, taken = FrameWindow(100, 1.0), []
    for number in range(100):
        at = round(number * SECOND / 30)
        if window.due(at):
            window.add(gray(1, stamp_ns=at))
            taken.append(number)
    assert taken == [0, 30, 60, 90]


def test_with_a_period_of_0_every_frame_is_due():
    window = FrameWindow(3, 0)
    fill(window, [1])
    assert window.due(1 * SECOND) and window.due(1 * SECOND + 1)
    assert fill(window, [1, 1, 1])[-1] == [1, 1, 1]  # equal stamps are no way back


def test_a_stamp_before_the_newest_is_due_and_empties_the_window():
    for max_rolls in (None, 0, 3):
        window = FrameWindow(4, 1.0, max_rolls)
        fill(window, [10, 11, 12])
        before = {number for number, _ in window.generations()}
        assert window.due(11_900_000_000)
        assert fill(window, [5, 6]) == [[5], [5, 6]]
        assert not before & {number for number, _ in window.generations()}


def test_a_given_time_stands_for_a_stamp_that_is_missing():
    window = FrameWindow(4, 1.0)
    for at in (3, 4):
        window.add(gray(1), at * SECOND)
    assert len(window.last()) == 2
    assert not window.due(4 * SECOND + 1) and window.due(5 * SECOND)
    window.add(gray(1), 2 * SECOND)
    assert len(window.last()) == 1


def test_clear_forgets_the_frames_and_when_they_were():
    window = FrameWindow(4, 1.0, 0)
    fill(window, [1, 2])
    window.clear()
    assert (window.last(), window.generations()) == ((), [])
    assert window.due(0) and window.due(2 * SECOND)


def test_a_window_is_empty_at_first():
    window = FrameWindow(4, 1.0, 0)
    assert (window.last(), window.last(3), window.generations()) == ((), (), [])


def test_fewer_frames_are_the_newest_ones():
    window = FrameWindow(4, 1.0)
    fill(window, range(1, 7))
    assert [held(window, count) for count in (0, 1, 3, 4, 9)] == [
        [3, 4, 5, 6], [6], [4, 5, 6], [3, 4, 5, 6], [3, 4, 5, 6]]


@pytest.mark.parametrize('max_rolls', [None, 0, 2])
def test_broken_frames_are_left_out_and_take_no_time_of_the_others(max_rolls):
    window, broken = FrameWindow(4, 1.0, max_rolls), broken_frame()
    fill(window, [1])
    window.add(broken, 2 * SECOND)
    assert len(window.last()) == 2  # nobody has tried to decode it
    with pytest.raises(NanoVlmError):
        broken.rgb
    assert held(window) == [1] and window.last(2) == window.last()
    assert all(broken not in frames for _, frames in window.generations())
    assert fill(window, [3, 4])[-1] == [1, 3, 4]
    assert not window.due(2 * SECOND + 2 * SECOND)  # 4 s is the newest stamp


# -- generations --------------------------------------------------------------------------------

def test_an_exact_window_slides_for_ever():
    window = FrameWindow(3, 1.0)
    assert fill(window, range(1, 7)) == [
        [1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]]
    (number, frames), = window.generations()
    assert frames == window.last()
    lengths(window, 100)
    assert len(window.generations()) == 1


def test_what_follows_comes_after_what_is_asked_about():
    window = FrameWindow(4, 1.0, 0)
    fill(window, range(1, 5))
    (first, now), (second, then) = window.generations()
    assert now == window.last() and then == now[2:] and second > first
    fill(window, [5])
    (number, frames), *_ = window.generations()
    assert number == second and frames[:2] == then


def test_numbers_are_never_used_twice():
    windows = [FrameWindow(2, 1.0, 0) for _ in range(3)]
    numbers = []
    for window in windows:
        for _ in range(20):
            before = {number for number, _ in window.generations()}
            lengths(window, 1)
            numbers += [n for n, _ in window.generations() if n not in before]
    assert len(numbers) == len(set(numbers)) and 0 not in numbers


@pytest.mark.parametrize('frames', range(1, 18))
def test_without_rolls_a_full_window_goes_on_with_its_newer_half(frames):
    window = FrameWindow(frames, 1.0, 0)
    counts = lengths(window, 10 * frames)
    assert counts[:frames] == list(range(1, frames + 1))
    cycle = list(range(frames // 2 + 1, frames + 1))
    after = counts[frames:]
    assert after == (cycle * len(after))[:len(after)]


@pytest.mark.parametrize('frames', range(1, 12))
def test_without_rolls_no_frame_has_seen_one_that_is_gone(frames):
    shadow = Shadow(FrameWindow(frames, 1.0, 0))
    for stamp in range(1, 8 * frames):
        shadow.add(gray(1, stamp_ns=stamp * SECOND))
        assert set(shadow.dropped().values()) == {0}
        assert len(shadow.window.generations()) <= 2


@pytest.mark.parametrize('frames', [1, 2, 5, 8])
@pytest.mark.parametrize('rolls', [1, 2, 3, 8, 16])
def test_a_generation_drops_max_rolls_frames_and_no_more(frames, rolls):
    shadow, dropped = Shadow(FrameWindow(frames, 1.0, rolls)), []
    for stamp in range(1, 10 * (frames + rolls)):
        shadow.add(gray(1, stamp_ns=stamp * SECOND))
        shadow.check()
        dropped.append(list(shadow.dropped().values())[0])
        # The one that takes over has half a life behind it, or the window is young.
        assert len(shadow.window.last()) >= min(stamp, frames, (frames + rolls) // 2 + 1)
    assert max(dropped) == rolls


def test_with_as_many_rolls_as_frames_a_full_window_stays_full():
    assert lengths(FrameWindow(6, 1.0, 6), 100)[6:] == [6] * 94


def test_random_sequences_keep_every_promise():
    r = np.random.default_rng(7)
    for _ in range(150):
        frames, period = int(r.integers(1, 10)), float(r.choice([0, 0.3, 1]))
        rolls = r.choice([None, 0, 1, 4])
        shadow = Shadow(FrameWindow(frames, period, rolls))
        window, at, taken = shadow.window, 100 * SECOND, []  # taken since the last way back
        for _ in range(80):
            at += int(r.integers(-40 if r.random() < 0.05 else 0, 10)) * SECOND // 10
            newest = taken[-1].stamp_ns if taken else None
            due = newest is None or at < newest or at - newest >= round(period * SECOND)
            assert window.due(at) == due
            if not due:
                continue
            frame = gray(1, stamp_ns=at)
            frame.broken = bool(r.random() < 0.1)
            if newest is not None and at < newest:
                taken = []
            taken.append(frame)
            window.add(frame)
            good = [f for f in taken[-frames:] if not f.broken]
            last = window.last()
            # The newest frames in the order of their stamps, and only of this time.
            assert list(last) == good[len(good) - len(last):]
            if rolls is None:
                assert len(last) == len(good)
            generations = window.generations()
            assert generations[0][1] == last and len(generations) <= 2
            for (_, older), (_, younger) in zip(generations, generations[1:]):
                assert older[len(older) - len(younger):] == younger
            assert window.last(2) == last[-2:]
