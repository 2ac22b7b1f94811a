# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests side by side: order, neighbours, and what each one brings home."""
import json
import threading

import numpy as np
import pytest
from asker import PATIENCE
from fakes import EOS, FakeModel, gray

from nanovlm_ros.engine.structured import Constraint
from nanovlm_ros.types import ErrorCode, NanoVlmError


def noise(position):
    """Logits that depend on the place alone, so that equal seeds must give equal texts."""
    row = np.random.default_rng(position).normal(size=FakeModel.vocab_size) * 3
    row[EOS] = -50
    row[128:EOS] = -50  # ASCII
    return row.astype(np.float32)


def holding(asker, held, *questions):
    """Submit all the questions while the executor is held, then let it go."""
    tickets = [asker.submit(text, **fields) for text, fields in questions]
    assert held.reached.wait(PATIENCE)
    held.open.set()
    return [asker.wait(ticket) for ticket in tickets]


def test_the_same_seed_gives_the_same_text_alone_and_in_a_batch(make, gate):
    config = {'temperature': 1.0, 'top_p': 0.9, 'seed': 7, 'max_new_tokens': 40}
    alone, _ = make(logits=noise)
    expected = alone.ask('a', config=config).text
    held = gate('preprocess')
    asker, model = make(logits=noise, before=held)
    answers = holding(asker, held, *(
        ('a', {'config': {**config, 'seed': seed}}) for seed in (1, 7, 2, 3)))
    assert max(model.batches) == 4
    assert answers[1].text == expected
    assert len({answer.text for answer in answers}) == 4


def test_a_repetition_penalty_touches_no_neighbour(make, gate):
    row = np.zeros(FakeModel.vocab_size, np.float32)
    row[ord('a')], row[ord('b')] = 3, 2
    held = gate('preprocess')
    asker, _ = make(logits=lambda position: row.copy(), before=held)
    plain, penalised = holding(
        asker, held, ('?', {'config': {'max_new_tokens': 3}}),
        ('?', {'config': {'max_new_tokens': 3, 'repetition_penalty': 2.0}}))
    assert plain.text == 'aaa'
    assert penalised.text == 'aba'  # 3, then 1.5 < 2, then 1.5 > 1


def test_requests_start_in_the_order_in_which_they_came(make, gate):
    held, order = gate('preprocess'), []

    def reply(turns):
        order.append(turns[-1].user)
        return ' ok'

    asker, _ = make(reply, before=held, max_sequences=2)
    holding(asker, held, *((str(number), {}) for number in range(6)))
    assert order == [str(number) for number in range(6)]


def test_a_cancel_in_a_batch_changes_no_neighbour(make):
    asker, model = make(token_seconds=0.001)
    stop_at = threading.Event()
    model.before = lambda stage: stop_at.set() if len(model.batches) > 5 else None
    model.reply = lambda turns: f' {turns[-1].user}' * 60
    tickets = [asker.submit(name, config={'max_new_tokens': 1000}) for name in 'abc']
    assert stop_at.wait(PATIENCE)
    tickets[1].cancel()
    answers = [asker.wait(ticket) for ticket in tickets]
    assert [answer.finish_reason for answer in answers] == ['stop', 'canceled', 'stop']
    assert [answers[0].text, answers[2].text] == [' '.join('a' * 60), ' '.join('c' * 60)]


def test_a_cancel_while_images_are_read_ends_before_the_vision_tower(make, gate):
    held, stages = gate('preprocess'), []

    def before(stage):
        stages.append(stage)
        held(stage)

    asker, _ = make(before=before)
    ticket = asker.submit(frames=(gray(1),))
    assert held.reached.wait(PATIENCE)
    ticket.cancel()
    held.open.set()
    assert asker.wait(ticket).finish_reason == 'canceled'
    assert stages == ['preprocess']


def test_a_sequence_that_breaks_a_step_fails_alone_and_its_neighbours_go_on(make, gate):
    held = gate('preprocess')
    asker, model = make(before=held)

    def before(stage):
        held(stage)
        _, decodes = model.steps[-1] if model.steps else ((), ())
        if stage == 'decode' and any(sequence == 2 for sequence, _ in decodes):
            raise RuntimeError('kernel 7 is broken')

    model.before = before
    first, broken, last = holding(asker, held, ('a', {}), ('b', {}), ('c', {}))
    assert (first.text, last.text) == ('a||1', 'c||1')
    assert broken.error_code == ErrorCode.MODEL_ERROR
    assert 'kernel 7 is broken' in broken.error_message
    assert not model.sequences and sorted(model.kept) == [False, True, True]


def test_a_batch_that_does_not_fit_costs_only_its_newest_request(make, gate):
    held = gate('preprocess')
    asker, model = make(before=held)

    def before(stage):
        held(stage)
        if stage == 'decode' and len(model.sequences) == 3:
            raise NanoVlmError(ErrorCode.OUT_OF_MEMORY, 'The KV cache is full.')

    model.before = before
    answers = holding(asker, held, *((name, {}) for name in 'abc'))
    assert [a.error_code for a in answers] == [
        ErrorCode.NONE, ErrorCode.NONE, ErrorCode.OUT_OF_MEMORY]
    assert [a.text for a in answers[:2]] == ['a||1', 'b||1']


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_logits_that_are_no_numbers_fail_instead_of_making_text(make, bad):
    asker, _ = make(logits=lambda position: np.full(FakeModel.vocab_size, bad, np.float32))
    answer = asker.ask()
    assert (answer.error_code, answer.text) == (ErrorCode.MODEL_ERROR, '')
    assert 'NaN or infinity' in answer.error_message


def test_a_live_tick_of_the_conversation_waits_for_the_turn_before(make, gate):
    held = gate('decode')
    asker, _ = make(before=held)
    turn = asker.submit('a', keep_history=True)
    assert held.reached.wait(PATIENCE)
    tick = asker.submit('b', keep_history=True, live=True)
    held.open.set()
    assert asker.wait(turn).text == 'a||1'
    assert asker.wait(tick).text == 'b||2'


def test_text_held_back_for_a_stop_string_reaches_the_history(make):
    seen = []

    def reply(turns):
        seen.append([turn.assistant for turn in turns])
        return ' yes <'

    asker, _ = make(reply)
    asker.ask('a', keep_history=True, config={'stop': ('<end>',)})
    asker.ask('b', keep_history=True)
    assert seen == [[None], ['yes <', None]]


def test_chunks_come_no_closer_than_the_stream_period(make):
    asker, _ = make(lambda turns: ' 0123456789')
    ticket = asker.submit(stream_period=3600.0)
    assert asker.wait(ticket).text == '0123456789'
    assert [c.delta for c in asker.chunks[ticket.request_id]] == ['0', '123456789']


def test_json_ends_with_its_last_brace_and_no_step_after_it(make):
    asker, model = make(lambda turns: ' {"door": true} and more')
    answer = asker.ask(json_schema=json.dumps({
        'type': 'object', 'properties': {'door': {'type': 'boolean'}}, 'required': ['door'],
        'additionalProperties': False}))
    assert answer.json == '{"door": true}' and answer.finish_reason == 'stop'
    assert len(model.batches) == answer.completion_tokens - 1  # the prefill gave the first


def test_json_that_a_stop_string_cuts_is_an_error_on_every_path(make):
    asker, _ = make(lambda turns: ' {"a": 1}' if 'JSON' in turns[-1].user else f' {len(turns)}')
    ticket = asker.submit(json_schema='{}', keep_history=True, config={'stop': (':',)})
    answer = asker.wait(ticket)  # the chunk's finish reason is the answer's
    assert (answer.finish_reason, answer.error_code) == ('error', ErrorCode.JSON_INVALID)
    assert asker.ask('b', keep_history=True).text == '1', 'a failed turn is not remembered'


def test_constrained_and_free_requests_share_a_batch(make, gate):
    held = gate('preprocess')
    asker, model = make(lambda turns: ' {"n": 12}' if 'JSON' in turns[-1].user else ' free text',
                        before=held)
    free, constrained = holding(asker, held, ('a', {}), ('b', {'json_schema': '{}'}))
    assert (free.text, constrained.json) == ('free text', '{"n": 12}')
    assert max(model.batches) == 2


def test_a_grammar_that_breaks_fails_its_request_alone(make, gate, monkeypatch):
    monkeypatch.setattr(Constraint, 'allowed', lambda self: 1 / 0)
    held = gate('preprocess')
    asker, model = make(before=held)
    free, constrained = holding(asker, held, ('a', {}), ('b', {'json_schema': '{}'}))
    assert (free.text, free.error_code) == ('a||1', ErrorCode.NONE)
    assert constrained.error_code == ErrorCode.MODEL_ERROR
    assert not model.sequences


def test_tokens_that_cannot_be_sampled_fail_those_who_wait_for_them_and_nobody_later(make, gate):
    held = gate('preprocess')
    asker, model = make(before=held)
    model.sample = lambda *_: 1 / 0
    failed = holding(asker, held, ('a', {}), ('b', {}))
    assert [answer.error_code for answer in failed] == [ErrorCode.MODEL_ERROR] * 2
    assert len(model.steps) <= 2, 'their rows are in the cache: nothing is run again'
    del model.sample
    assert asker.ask('c').text == 'c||1' and not model.sequences


def test_counts_tell_failures_from_cancels(make, gate):
    held = gate('preprocess')
    asker, model = make(before=held)
    tickets = [asker.submit('a'), asker.submit('b')]
    assert held.reached.wait(PATIENCE)
    tickets[1].cancel()
    held.open.set()
    for ticket in tickets:
        asker.wait(ticket)
    asker.ask('x' * 5000)  # more than the context
    asker.ask()
    asker.executor.reset()  # the step that ended the last one is over
    stats = asker.executor.stats()
    assert (stats.completed, stats.failed, stats.queued) == (2, 1, 0)
    assert stats.tokens_per_second > 0 and stats.stuck_for == 0


def test_one_age_an_image_or_none_at_all(make):
    asker, _ = make()
    with pytest.raises(NanoVlmError, match='2 images and 1 ages') as caught:
        asker.submit(frames=(gray(1), gray(2)), image_ages=(0.1,))
    assert caught.value.code == ErrorCode.INVALID_REQUEST
