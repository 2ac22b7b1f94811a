# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Who computes when, in virtual time: bounded waits, order of arrival, fairness."""
from itertools import pairwise

import pytest
from desk import CHUNK, FOUR, LONG, STEP, TURN, Desk, longest_pause
from fakes import gray
from virtual import PASS, READ, ROW, SEE


# -- waits ------------------------------------------------------------------------------------

def test_a_running_answer_waits_for_no_more_than_an_image_and_a_chunk():
    desk = Desk()
    running = desk.ask('running', tokens=60)
    desk.later(0.1, desk.ask, LONG, frames=(gray(1), gray(2)))
    desk.later(0.2, desk.ask, 'other', frames=(gray(3),))
    assert desk.right(running)
    desk.finish()
    assert longest_pause(desk.times[running.request_id]) <= TURN
    assert any(LONG in filled and decoded for _, filled, decoded in desk.model.log)


def test_without_images_a_running_answer_waits_for_no_more_than_a_chunk():
    desk = Desk()
    running = desk.ask('running', tokens=40)
    desk.later(0.1, desk.ask, LONG)
    assert desk.right(running)
    assert longest_pause(desk.times[running.request_id]) <= STEP


def test_a_prompt_that_is_being_filled_needs_its_images_no_more():
    desk = Desk(images=2)
    first = desk.ask(LONG, frames=(gray(1), gray(2)))
    others = [desk.ask('what?', frames=(gray(n), gray(n + 1))) for n in (3, 5)]
    desk.finish()
    assert desk.right(first, *others) and len(desk.model.visions) == 6


def test_a_prompt_waits_for_later_ones_images_only_when_it_leaves_room_in_a_chunk():
    desk = Desk()
    first = desk.ask(LONG)
    desk.ask('what?', frames=tuple(gray(n) for n in range(8)))
    assert desk.first(first) <= 13 * PASS + ROW * (len(LONG) + 1) + READ * 8 + 2 * SEE
    desk.finish()


def test_a_step_fills_no_more_rows_than_a_chunk_whoever_they_belong_to():
    desk = Desk(max_sequences=6)
    tickets = [desk.ask(name * 50) for name in FOUR]
    desk.finish()
    assert desk.right(*tickets)
    rows = [sum(rows for _, rows in fills) for fills, _ in desk.model.steps]
    assert max(rows) == CHUNK
    # Rows that are left in a chunk go to the prompt that is next.
    assert any(len(fills) > 1 for fills, _ in desk.model.steps)


def test_a_query_joins_the_running_batch_after_its_prefill():
    desk = Desk()
    first, second = desk.ask('first', tokens=60), desk.later(0.2, desk.ask, LONG, tokens=20)
    desk.finish()
    assert desk.right(first, *second)
    filled, decoded = desk.model.steps_of(LONG)
    _, beside = desk.model.steps_of('first')
    assert set(filled) <= set(beside) and set(decoded[:10]) <= set(beside)
    assert filled[-1] < decoded[0]


def test_a_cancel_takes_effect_within_a_turn():
    desk = Desk()
    running = desk.ask('running', tokens=500)
    desk.later(0.0, desk.ask, LONG, frames=(gray(1),))
    desk.later(0.2, running.cancel)
    assert desk.answer(running).finish_reason == 'canceled'
    assert desk.times[running.request_id][-1] <= 0.2 + TURN


def test_times_of_the_parts_add_up_to_no_more_than_the_whole():
    desk = Desk(max_sequences=2)
    tickets = [desk.ask(LONG, frames=(gray(number),)) for number in range(5)]
    for ticket in tickets:
        timings = desk.answer(ticket).timings  # each answer is checked there, too
        assert timings.queued + timings.prefill + timings.decode <= timings.total
        assert timings.prefill >= ROW * CHUNK and timings.decode >= 9 * PASS - 1e-9
        assert timings.vision == pytest.approx(SEE)
        assert timings.first_token <= timings.total - timings.decode + 1e-9
    alone = desk.answer(desk.ask('alone')).timings
    assert alone.total == pytest.approx(
        alone.queued + alone.preprocess + alone.prefill + alone.decode)


# -- order and fairness -----------------------------------------------------------------------

def test_requests_start_in_order_of_arrival():
    desk = Desk(max_sequences=2)
    tickets = [desk.ask(f'question {number}', tokens=5 + number % 4) for number in range(12)]
    desk.finish()
    taken = [desk.request(t).accepted + desk.answer(t).timings.queued for t in tickets]
    assert taken == sorted(taken)
    starts = [desk.model.steps_of(f'question {number}')[0][0] for number in range(12)]
    assert starts == sorted(starts)


def test_prompts_are_filled_first_come_first_served():
    desk = Desk()
    tickets = [desk.ask(LONG[number:], tokens=2) for number in range(4)]
    desk.finish()
    ends = [desk.times[ticket.request_id][0] for ticket in tickets]
    assert ends == sorted(ends)
    for before, after in pairwise(LONG[number:] for number in range(4)):
        assert desk.model.steps_of(before)[0][-1] <= desk.model.steps_of(after)[0][0]


@pytest.mark.parametrize('live', [False, True])
def test_no_query_starves_under_a_stream_of_others(live):
    desk = Desk()
    for number in range(150):  # more than can be computed
        desk.later(number * 0.05, desk.ask, f'{number} ' + LONG[:60])
        if live:
            desk.later(number * 0.05, desk.tick, *FOUR, frames=(gray(number % 256),))
    patient = desk.later(1.0, desk.ask, LONG, frames=(gray(1),), tokens=20)
    desk.run(until=lambda: patient)
    ahead = [r for r in desk.requests.values() if not (r.done or r.live)]
    desk.answer(patient[0])
    assert desk.right(*patient)
    # It waits for those that came before it, and for none that came after.
    work = sum(len(r.query.prompt) * ROW + 10 * STEP for r in ahead)
    assert desk.first(patient[0]) <= work + 2 * 13 * TURN
    before = [r for r in desk.requests.values() if r.accepted > ahead[-1].accepted and r.seconds]
    assert all(r.accepted + r.seconds['queued'] >= desk.request(patient[0]).accepted
               + desk.request(patient[0]).seconds['queued'] for r in before if not r.live)


def test_a_query_that_shares_a_live_image_starves_no_more_than_others():
    desk = Desk()
    frame = gray(1)
    desk.tick('watch ' + LONG, frames=(frame,) * 8, tokens=5)
    desk.run(until=lambda: desk.model.log)  # its first chunk is filled
    asked = desk.ask('what?', frames=(frame,) * 8)
    for number in range(150):
        desk.later(number * 0.02, desk.ask, f'{number} ' + LONG[:90], tokens=2)
    assert desk.right(asked)
    assert desk.answer(asked).timings.total <= 20 * TURN
    desk.finish()


def test_a_turn_of_the_conversation_never_runs_beside_another():
    desk = Desk()
    turns = [desk.ask(f'turn {number}', keep_history=True) for number in range(4)]
    others = [desk.ask(f'other {number}') for number in range(4)]
    desk.finish()  # after each turn of the scheduler, too, one runs at most
    for number, turn in enumerate(turns):
        prompt = desk.request(turn).conversation
        assert prompt is desk.request(turns[0]).conversation
        assert desk.answer(turn).prompt_tokens == 1 + sum(
            len(f'turn {n}') for n in range(number + 1)) + 10 * number
    assert len(prompt) == 4 and desk.right(*others)
    assert [name for name in desk.order if name.startswith('turn')] == [
        f'turn {number}' for number in range(4)]


def test_a_conversation_lets_others_pass_and_is_next_when_it_can():
    desk = Desk(max_sequences=2)
    first, second = (desk.ask(name, keep_history=True, tokens=30) for name in ('a', 'b'))
    others = [desk.ask(f'other {number}', tokens=20) for number in range(20)]
    desk.answer(first)
    desk.turn()
    assert second.started and sum(other.started for other in others) < 5
    desk.finish()
