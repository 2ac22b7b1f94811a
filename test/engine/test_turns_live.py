# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Live ticks beside queries, in virtual time: who gives way, who joins whom, who is replaced."""
import pytest
from desk import FOUR, LONG, STEP, Desk
from fakes import gray
from virtual import IMAGE_ROWS, READ, SEE


def idle(prompt, **fields):
    """Return the time to the first text of a query when nothing else runs."""
    desk = Desk()
    return desk.first(desk.ask(prompt, **fields))


def test_queries_go_before_live_ones_that_wait():
    desk = Desk(max_sequences=1)
    running = desk.ask('running')
    tick = desk.tick(*FOUR)
    query = desk.ask('query')
    desk.answer(running)
    desk.finish()
    assert desk.order.index('query') < min(map(desk.order.index, FOUR))
    assert desk.right(query, *tick)


def test_queries_go_before_live_ones_in_prefill():
    desk = Desk()
    tick = desk.tick('live ' + LONG)
    desk.run(until=lambda: len(desk.model.log) == 3)
    query = desk.ask('query ' + LONG)
    desk.run(until=lambda: desk.times[query.request_id])
    began = [began for began, filled, _ in desk.model.log if 'query ' + LONG in filled]
    between = [filled for when, filled, _ in desk.model.log if began[0] <= when <= began[-1]]
    assert all(filled == ['query ' + LONG] for filled in between)
    desk.finish()
    assert desk.right(query, *tick)


def test_the_prompts_of_a_tick_share_the_rows_of_its_image_and_decode_together():
    def total(*prompts):
        desk, frames = Desk(max_sequences=8), (gray(9),) * 3
        tickets = desk.tick(*prompts, frames=frames, tokens=30)
        answers = [desk.answer(ticket) for ticket in tickets]
        desk.finish()
        assert desk.right(*tickets) and desk.model.visions == [frames[0].key]
        assert all(a.cached_tokens >= 1 + 3 * IMAGE_ROWS for a in answers[1:])
        assert max(desk.model.batches) == len(prompts)
        return max(answer.timings.total for answer in answers)

    eight = ('who?', 'what?', 'where?', 'when?', 'why?', 'how?', 'is it?', 'is it not?')
    assert total(*eight) <= 2 * total(eight[0])


@pytest.mark.parametrize('frames', [(), (gray(5),)])
@pytest.mark.parametrize('prompt', ['query', 'query' * 14, 'query' * 70])
def test_a_query_beside_live_ones_that_hold_all_places_starts_at_once(prompt, frames):
    bound = 1.3 * idle(prompt, frames=frames) + STEP
    ticks = [gray(6), gray(7)]
    for moment in range(0, 600, 29):  # ms, from the first chunk of a tick on: in any phase
        desk = Desk()
        desk.tick(*(f'{name} {LONG[:150]}' for name in FOUR), frames=ticks, tokens=60)
        desk.run(until=lambda: len(desk.model.visions) == 2)
        asked = desk.later(moment / 1000, desk.ask, prompt, frames=frames)
        desk.run(until=lambda: asked)
        assert desk.first(asked[0]) <= bound + 1e-9, f'asked after {moment} ms'
        assert desk.answer(asked[0]).timings.queued <= STEP + 1e-9


def test_a_query_waits_for_no_more_than_the_image_of_a_live_one():
    frames = tuple(gray(number) for number in range(8))
    bound = 1.3 * idle('query' * 36) + STEP + READ * 8 + SEE
    for moment in range(0, 1000, 47):
        desk = Desk()
        desk.tick(*FOUR, frames=frames, tokens=60)
        asked = desk.later(moment / 1000, desk.ask, 'query' * 36)
        desk.run(until=lambda: asked)
        assert desk.first(asked[0]) <= bound + 1e-9, f'asked after {moment} ms'


def test_one_place_more_is_there_for_a_query_and_no_more_than_one():
    desk = Desk(max_sequences=4)
    live = desk.tick(*FOUR, tokens=40)
    desk.turn()
    queries = [desk.ask(f'query {number}', tokens=20) for number in range(3)]
    desk.turn()
    assert [query.started for query in queries] == [True, False, False]
    assert len(desk.scheduler.running) == 5
    desk.finish()
    assert desk.right(*live, *queries)


def test_without_live_ones_there_is_no_place_more():
    desk = Desk(max_sequences=4)
    queries = [desk.ask(f'query {number}') for number in range(6)]
    desk.tick(*FOUR)
    desk.turn()
    assert [query.started for query in queries] == [True] * 4 + [False] * 2
    desk.finish()


def test_a_newer_tick_replaces_what_waits_of_the_older_one_and_no_more():
    desk = Desk(max_sequences=2)
    old = desk.tick('old 1', 'old 2', 'old 3', 'old 4', tokens=30)
    desk.run(until=lambda: desk.scheduler.running)
    new = desk.tick('new 1', 'new 2')
    assert [ticket.done for ticket in old] == [False, False, True, True]
    for ticket in old[2:]:
        answer = desk.answer(ticket)
        assert (answer.finish_reason, answer.completion_tokens) == ('canceled', 0)
        assert 'newer' in answer.error_message
    desk.finish()
    assert desk.right(*old[:2], *new)


def test_ticks_that_were_replaced_are_counted_once_each():
    desk = Desk(max_sequences=1)
    desk.ask('running', tokens=50)
    desk.turn()
    for number in range(5):
        desk.tick(*(f'{name} {number}' for name in FOUR))
    assert desk.queue.live_missed == 4 and len(desk.queue) == 4
    desk.finish()
    stats = desk.meter.read(0, 0, desk.queue.live_missed)
    assert (stats.live_missed, stats.completed, stats.failed) == (4, 5, 0)
    desk.tick(*FOUR)
    desk.finish()
    assert desk.queue.live_missed == 4, 'a tick that waited for nothing is not missed'
