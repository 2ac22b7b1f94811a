# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""When windows are worked on, and what a question about one finds, in virtual time."""
import pytest
from desk import LONG, STEP, Desk, longest_pause
from fakes import broken_frame, gray
from virtual import IMAGE_ROWS, PASS, READ, ROW, SEE

from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.types import Frame

JOIN = SEE + ROW * (1 + IMAGE_ROWS)  # s: a frame's work for a rolling window


def full(frames):
    """Return the rows of a rolling window of that many frames."""
    return 1 + frames * IMAGE_ROWS


class Camera:
    """Puts frames into the window of a camera, as they come."""

    def __init__(self, desk, name='front', frames=4, max_rolls=100, rolling=True):
        self.desk, self.name, self.rolling = desk, name, rolling
        self.window = FrameWindow(frames, 0, max_rolls)

    def see(self, *frames):
        for frame in frames:
            self.window.add(frame, 0)
        self.desk.watched.put(self.name, self.window.generations(), self.rolling)

    def ask(self, prompt='what?', **fields):
        return self.desk.ask(prompt, **self.picked(), **fields)

    def picked(self):
        """Return the fields of a query about the window as it is now."""
        generation, frames = self.window.generations()[0]
        return {'frames': frames, 'generation': generation if self.rolling else 0}


@pytest.mark.parametrize('rolling', [True, False])
def test_a_window_is_worked_on_frame_by_frame_when_there_is_nothing_else(rolling):
    desk = Desk()
    camera = Camera(desk, rolling=rolling)
    camera.see(*map(gray, range(4)))
    desk.run()
    assert len(desk.watched) == 0 and len(desk.model.watched) == 4
    asked = camera.ask()
    answer = desk.answer(asked)
    assert desk.right(asked) and answer.timings.vision == 0
    assert answer.cached_tokens == (full(4) if rolling else 0)
    camera.see()  # nothing has come
    desk.finish()


@pytest.mark.parametrize('live', [False, True])
def test_no_window_is_worked_on_while_a_prompt_is_being_filled(live):
    desk = Desk()
    running = desk.ask('running', tokens=100)
    desk.run(until=lambda: desk.model.batches)
    fields = {'frames': tuple(map(gray, range(3)))}
    asked, = desk.tick(LONG, **fields) if live else [desk.ask(LONG, **fields)]
    desk.run(until=lambda: asked.started)
    Camera(desk).see(*map(gray, range(4)))
    before = len(desk.model.watched)
    desk.run(until=lambda: desk.times[asked.request_id])
    assert len(desk.model.watched) <= before + 1  # the turn that brought the first token
    desk.run(until=lambda: not len(desk.watched))
    assert not running.done, 'beside an answer there is time for windows'
    desk.finish()
    assert desk.right(running, asked)


def test_a_running_answer_waits_for_no_more_than_a_frame_of_a_window():
    desk = Desk()
    running = desk.ask('running', tokens=100)
    cameras = [Camera(desk, name) for name in ('front', 'rear', 'left')]
    for number in range(10):
        for camera in cameras:
            desk.later(number * 0.3, camera.see, gray(number))
    assert desk.right(running)
    assert longest_pause(desk.times[running.request_id]) <= PASS + JOIN
    desk.finish()


def test_a_query_about_a_window_finds_its_newest_frame_joined():
    desk = Desk()
    running = desk.ask('running', tokens=200)
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.run(until=lambda: not len(desk.watched))
    for number in range(10, 16):
        camera.see(gray(number))
        asked = camera.ask(f'what is {number}?')
        assert desk.first(asked) <= JOIN + 3 * PASS + ROW * 20  # it costs its question alone
        assert desk.answer(asked).cached_tokens == full(4) and desk.right(asked)
    desk.finish()
    assert desk.right(running)


def test_a_query_about_a_window_waits_for_no_other_window():
    desk = Desk()
    running = desk.ask('running', tokens=100)
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.run(until=lambda: not len(desk.watched))
    camera.see(gray(9))
    for name in ('rear', 'left', 'right'):
        Camera(desk, name).see(*map(gray, range(4)))
    asked = camera.ask()
    assert desk.first(asked) <= PASS + JOIN + STEP
    assert desk.answer(asked).cached_tokens == full(4)
    desk.finish()
    assert desk.right(asked, running)


def test_the_prompts_of_a_tick_about_a_window_that_lags_keep_no_answer_waiting():
    desk = Desk(max_sequences=9)
    running = desk.ask('running', tokens=150)
    desk.run(until=lambda: desk.model.batches)
    cameras = [Camera(desk, name) for name in ('front', 'rear', 'left')]
    for camera in cameras:
        camera.see(*map(gray, range(4)))
    tick = desk.tick(*(f'{n}?' for n in range(8)), **cameras[0].picked())
    desk.finish()
    assert desk.right(running, *tick)
    assert longest_pause(desk.times[running.request_id]) <= JOIN + 4 * READ + SEE + STEP


def test_the_prompts_of_a_tick_share_a_window_and_decode_together():
    desk = Desk(max_sequences=8)
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.run()
    camera.see(gray(9))
    tick = desk.tick(*(f'{n}?' for n in range(8)), **camera.picked(), tokens=20)
    desk.finish()
    assert desk.right(*tick) and max(desk.model.batches) == 8
    assert all(desk.answer(ticket).cached_tokens >= full(4) for ticket in tick)
    assert len(desk.model.visions) == 5


def test_a_window_does_not_roll_past_a_query_that_is_about_to_start():
    desk = Desk()
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.run()
    desk.ask(LONG)
    desk.turn()
    asked = camera.ask()  # it has to wait for rows of a chunk, and the camera does not
    camera.see(gray(9))
    assert desk.answer(asked).cached_tokens == full(4) and desk.right(asked)
    desk.finish()


def test_a_query_about_frames_that_the_window_dropped_is_answered_all_the_same():
    desk = Desk()
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.run()
    picked = camera.picked()
    for number in range(6):
        camera.see(gray(10 + number))
        desk.run()
    asked = desk.ask('what was it?', **picked)
    assert desk.right(asked) and desk.answer(asked).cached_tokens <= 1
    desk.finish()


@pytest.mark.parametrize('rolling', [True, False])
def test_a_frame_that_cannot_be_decoded_costs_nothing_else(rolling):
    desk = Desk()
    running = desk.ask('running', tokens=100)
    bad, good = (Camera(desk, name, rolling=rolling) for name in ('bad', 'good'))
    bad.see(gray(1), broken_frame(), gray(2))
    good.see(*map(gray, range(4)))
    desk.run(until=lambda: not len(desk.watched))
    assert not running.done
    asked = good.ask()
    assert desk.right(asked) and desk.answer(asked).timings.vision == 0
    bad.see(gray(3))  # from here on the window is without the broken one
    desk.run(until=lambda: not len(desk.watched))
    again = bad.ask('and now?')
    assert desk.right(again) and len(desk.request(again).query.frames) == 3
    assert desk.answer(again).timings.vision == 0
    desk.finish()
    assert desk.right(running)


def test_windows_take_turns():
    desk = Desk()
    for name in 'abc':
        Camera(desk, name).see(*map(gray, range(3)))
    desk.run()
    assert [name for name, *_ in desk.model.watched] == list('abc' * 3)


def test_a_window_whose_camera_is_faster_than_the_model_keeps_no_other_waiting():
    desk = Desk()
    fast, slow = Camera(desk, 'fast'), Camera(desk, 'slow')
    for number in range(100):
        desk.later(number * 0.9 * JOIN, fast.see, gray(number))
    desk.later(1.0, slow.see, *map(gray, range(4)))
    desk.run(until=lambda: desk.clock() > 1.0 + 10 * JOIN)
    assert [name for name, *_ in desk.model.watched].count('slow') == 4
    desk.finish()


def test_a_reset_clears_the_windows_that_wait():
    desk = Desk()
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.turn()
    desk.scheduler.forget()
    assert not len(desk.watched) and desk.model.cache.free == desk.model.cache.slots
    asked = camera.ask()
    assert desk.right(asked), 'what was picked before is answered after'
    camera.see(gray(9))
    desk.run()
    assert desk.answer(camera.ask('again?')).cached_tokens == full(4)
    desk.finish()


def test_rows_of_windows_give_way_to_answers():
    desk = Desk(rows=200)
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    desk.run()
    query = desk.ask('x' * 150, tokens=20)
    assert desk.right(query)
    desk.finish()


def test_an_image_that_is_stuck_is_noticed_although_a_window_was_worked_on():
    desk, stuck = Desk(), []

    def decode():
        desk.clock.advance(3.0)
        stuck.append(desk.meter.read(0, 0, 0).stuck_for)
        return gray(1).rgb

    camera = Camera(desk)
    camera.see(gray(0), Frame(decode, width=8, height=8))
    asked = camera.ask()  # the first frame joins the window, the second is read on the way
    assert desk.right(asked) and stuck == [pytest.approx(3.0, abs=JOIN)]
    assert desk.answer(asked).timings.preprocess == pytest.approx(3.0, abs=0.1)
    desk.finish()


def test_a_question_about_a_window_waits_for_no_answer_about_the_same_frames():
    desk = Desk()
    camera = Camera(desk)
    camera.see(*map(gray, range(4)))
    _, frames = camera.window.generations()[0]
    running = desk.ask('what is on the table?', frames=frames, tokens=300)
    desk.run(until=lambda: not len(desk.watched) and desk.model.batches)
    asked = camera.ask('what is on the floor?')
    desk.run(until=lambda: asked.done)
    assert not running.done
    desk.finish()
    assert desk.right(running, asked)


@pytest.mark.parametrize('max_rolls', [0, 100])
def test_a_running_answer_waits_for_an_image_and_a_chunk_of_a_window(max_rolls):
    desk = Desk(prefill_chunk=IMAGE_ROWS + 1)  # two generations want twice as many
    running = desk.ask('running', tokens=300)
    desk.run(until=lambda: desk.model.batches)
    camera = Camera(desk, max_rolls=max_rolls)
    for number in range(12):
        camera.see(gray(number))
        desk.run(until=lambda: not len(desk.watched))
    desk.finish()
    assert desk.right(running)
    assert longest_pause(desk.times[running.request_id]) <= JOIN + STEP
