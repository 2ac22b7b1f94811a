# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What ends early in a batch, fails or finds no room, harms no neighbour and leaves no row."""
import pytest
from desk import CHUNK, LONG, TURN, Desk
from fakes import broken_frame, gray
from virtual import IMAGE_ROWS

from nanovlm_ros.types import ErrorCode

VICTIM = 'victim' * 100
STATES = {
    'queued': lambda request: True,
    'waiting for its image': lambda request: request.prompt and request.sequence is None,
    'half-filled': lambda request: 0 < request.unfilled < request.prompt.n_tokens - CHUNK,
    'decoding': lambda request: request.completion_tokens == 5,
}


class Crowd:
    """A victim in the midst of neighbours in every state; `victim` are fields of its query."""

    def __init__(self, live=False, places=5, **victim):
        self.desk = Desk(max_sequences=places)
        ask = self.desk.tick if live else self.desk.ask
        fields = {'tokens': 20, 'frames': (gray(1), gray(2)), **victim}
        self.neighbours = [self.desk.ask('decoding', tokens=150)]
        self.desk.run(until=lambda: self.desk.model.batches)
        asked = ask(VICTIM, **fields)
        self.victim, = asked if live else [asked]
        self.neighbours += [
            self.desk.ask(LONG, frames=(gray(3),)),
            self.desk.ask('same words as the victim' if live else VICTIM + '?', frames=(gray(4),)),
            self.desk.ask('waiting')]
        if not live:
            self.neighbours += self.desk.tick('live 1', 'live 2', frames=(gray(5),))

    def run_to(self, state):
        request = self.desk.request(self.victim)
        self.desk.run(until=lambda: STATES[state](request))

    def check(self):
        """The victim's rows are free as soon as it has ended, and all the others get it right."""
        self.desk.run(until=lambda: self.victim.done)
        assert VICTIM not in self.desk.model.open_questions
        answer = self.desk.answer(self.victim)
        assert self.desk.right(*self.neighbours)
        self.desk.finish()
        return answer


@pytest.mark.parametrize('live', [False, True])
@pytest.mark.parametrize('state', STATES)
def test_a_cancel_in_any_state_harms_no_neighbour_and_frees_its_rows(state, live):
    crowd = Crowd(live)
    crowd.run_to(state)
    crowd.victim.cancel()
    began = crowd.desk.clock()
    answer = crowd.check()
    assert (answer.finish_reason, answer.error_code) == ('canceled', ErrorCode.CANCELED)
    assert crowd.desk.times[crowd.victim.request_id][-1] <= began + TURN
    assert answer.completion_tokens == (5 if state == 'decoding' else 0)


@pytest.mark.parametrize('live', [False, True])
@pytest.mark.parametrize('state', STATES)
def test_a_deadline_in_any_state_harms_no_neighbour_and_frees_its_rows(state, live):
    rehearsal = Crowd(live)
    rehearsal.run_to(state)
    deadline = rehearsal.desk.clock()
    crowd = Crowd(live, deadline=deadline)
    answer = crowd.check()
    assert (answer.finish_reason, answer.error_code) == ('timeout', ErrorCode.TIMEOUT)
    assert deadline <= crowd.desk.times[crowd.victim.request_id][-1] <= deadline + TURN
    assert answer.text == crowd.desk.expected(crowd.victim)[:answer.completion_tokens]


@pytest.mark.parametrize('what', ['cancel', 'deadline'])
def test_one_that_waits_in_the_queue_ends_while_all_places_are_taken(what):
    desk = Desk(max_sequences=1)
    running = desk.ask('running', tokens=50)
    waiting = desk.ask('waiting', deadline=0.2 if what == 'deadline' else 99.0)
    if what == 'cancel':
        desk.later(0.2, waiting.cancel)
    assert desk.answer(waiting).finish_reason in ('canceled', 'timeout')
    assert not running.done and not waiting.started
    desk.finish()
    assert desk.right(running)


@pytest.mark.parametrize('live', [False, True])
def test_one_whose_rows_another_waits_for_may_go(live):
    desk, frames = Desk(), (gray(1),) * 6
    first, = desk.tick('first', frames=frames) if live else [desk.ask('first', frames=frames)]
    desk.run(until=lambda: desk.request(first).unfilled)
    second, third = (desk.ask(name, frames=frames) for name in ('second', 'third'))
    desk.turn()
    assert desk.request(second).sequence is desk.request(third).sequence is None
    first.cancel()
    desk.finish()
    assert desk.right(second, third)
    # What the one that went had computed is computed once more, by one of them.
    assert desk.answer(second).cached_tokens == 0
    assert desk.answer(third).cached_tokens >= 6 * IMAGE_ROWS


@pytest.mark.parametrize('live', [False, True])
@pytest.mark.parametrize('stage', ['tokenize', 'preprocess', 'vision', 'open', 'prefill', 'decode',
                                   'sample'])
def test_one_that_fails_in_any_stage_fails_alone(stage, live):
    frame = gray(9)
    crowd = Crowd(live, frames=(frame,))
    crowd.desk.model.breaks[VICTIM] = stage
    if stage == 'vision':
        crowd.desk.model.blind.add(frame.key)
    answer = crowd.check()
    assert (answer.finish_reason, answer.error_code) == ('error', ErrorCode.MODEL_ERROR)
    words = {'vision': 'tower', 'sample': 'NaN'}.get(stage, stage)
    assert words in answer.error_message
    assert answer.completion_tokens == (stage == 'decode')


def test_several_that_fail_in_one_step_each_fail_alone():
    desk = Desk(max_sequences=8)
    good, bad = [], []
    for number in range(4):
        good.append(desk.ask(f'good {number}'))
        bad.append(desk.ask(f'bad {number}'))
        desk.model.breaks[f'bad {number}'] = ('prefill', 'decode')[number % 2]
    desk.finish()
    assert desk.right(*good)
    assert {desk.answer(ticket).error_code for ticket in bad} == {ErrorCode.MODEL_ERROR}


def test_a_picture_that_cannot_be_decoded_fails_its_request_alone():
    crowd = Crowd(frames=(gray(1), broken_frame()))
    assert crowd.check().error_code == ErrorCode.BAD_IMAGE


# -- out of cache pages -----------------------------------------------------------------------

def refused(desk, *tickets):
    """Tell whether just these ended for want of rows, all others being right."""
    out = [t.request_id for t in tickets]
    for name in desk.requests:
        answer, = desk.answers[name]
        if (answer.error_code == ErrorCode.OUT_OF_MEMORY) != (name in out):
            return False
    return True


def test_out_of_rows_the_newest_query_is_refused_and_its_rows_are_free():
    desk = Desk(rows=300)
    tickets = []
    for name in 'abc':
        tickets.append(desk.ask(name * 80, tokens=60))  # 420 rows in all
        desk.turn()
    desk.finish()
    assert refused(desk, tickets[2]) and desk.right(*tickets[:2])
    later = desk.ask('d' * 80, tokens=60)
    assert desk.right(later), 'there is room again'


def test_out_of_rows_a_live_one_is_refused_before_a_query():
    desk = Desk(rows=300)
    live, = desk.tick('a' * 80, tokens=60)
    desk.run(until=lambda: desk.model.batches)
    queries = [desk.ask(name * 80, tokens=60) for name in 'bc']
    desk.finish()
    assert refused(desk, live) and desk.right(*queries)


def test_out_of_rows_a_live_one_that_is_half_filled_is_refused_before_a_query():
    desk = Desk(rows=400)
    live, = desk.tick('a' * 390, tokens=5)
    desk.run(until=lambda: 0 < desk.request(live).unfilled < 150)
    query = desk.ask('b' * 200, tokens=60)
    desk.finish()
    assert refused(desk, live) and desk.right(query)


def test_rows_that_are_only_kept_give_way_before_anything_is_refused():
    desk = Desk(rows=250)
    for number in range(6):
        assert desk.right(desk.ask(f'{number}' * 80, frames=(gray(number),), tokens=60))
    desk.watched.put('front', [(1, tuple(gray(n) for n in range(5)))], True)
    desk.run()
    assert desk.right(desk.ask('x' * 180, tokens=60))
    desk.finish()


def test_a_prompt_that_can_never_fit_is_refused_alone():
    desk = Desk(rows=300, context_length=4096)
    first = desk.ask('first', tokens=100)
    desk.turn()
    large = desk.ask(LONG)
    desk.finish()
    assert refused(desk, large) and desk.right(first)
