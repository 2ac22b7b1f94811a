# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ends from outside: reset, abandon and shutdown while steps run, and calls that fail."""
import threading
import time
import weakref

import pytest
from asker import PATIENCE, Asker
from fakes import FakeModel, gray

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.types import ErrorCode, NanoVlmError, Query

LONG = {'max_new_tokens': 1000}


def chatter(turns):
    """Reply without an end of its own."""
    return ' ' + 'x' * 1000


def raises(call, *arguments, **fields):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, **fields)
    return caught.value


def test_a_sequence_that_cannot_be_released_spoils_no_answer(make):
    asker, model = make()

    def fail(sequence, keep):
        raise RuntimeError('no such sequence')

    model.release = fail
    assert asker.ask('a').text == 'a||1'
    assert asker.ask('b').text == 'b||1'


def test_a_reset_is_not_undone_by_the_turn_that_was_running(make, gate):
    held = gate('decode')
    asker, model = make(before=held)
    ticket = asker.submit('old', keep_history=True)
    assert held.reached.wait(PATIENCE)
    reset = threading.Thread(target=asker.executor.reset)
    reset.start()
    while not asker.executor._resets:  # the request to forget is in, the step still runs
        time.sleep(0.001)
    held.open.set()
    reset.join(PATIENCE)
    assert asker.wait(ticket).text == 'old||1'
    assert model.resets == 1 and model.kept == [False]
    assert asker.ask('new', keep_history=True).text == 'new||1'


def test_reset_raises_what_the_model_raised_and_the_executor_goes_on(make):
    asker, model = make()

    def fail():
        raise NanoVlmError(ErrorCode.MODEL_ERROR, 'The cache is broken.')

    model.reset = fail
    assert raises(asker.executor.reset).message == 'The cache is broken.'
    assert asker.ask().finish_reason == 'stop'


def test_reset_never_waits_for_an_executor_that_does_not_run():
    executor = MlcExecutor(FakeModel)
    assert raises(executor.reset).code == ErrorCode.NOT_READY
    executor.start()
    assert executor.shutdown()
    assert raises(executor.reset).code == ErrorCode.SHUTTING_DOWN


def test_abandon_lets_a_waiting_reset_go_and_drops_what_comes_later(make, gate):
    held = gate('decode')
    asker, model = make(before=held)
    ticket = asker.submit()
    assert held.reached.wait(PATIENCE)
    errors = []
    reset = threading.Thread(target=lambda: errors.append(raises(asker.executor.reset)))
    reset.start()
    while not asker.executor._resets:
        time.sleep(0.001)
    asker.executor.abandon('Stuck.')
    reset.join(PATIENCE)
    assert [error.message for error in errors] == ['Stuck.']
    sent = list(asker.chunks[ticket.request_id])
    held.open.set()
    assert asker.executor.shutdown(PATIENCE)  # the step has returned, and its text is dropped
    assert asker.chunks[ticket.request_id] == sent
    assert asker.wait(ticket).error_message == 'Stuck.'
    assert model.closed and not model.sequences


def test_shutdown_ends_what_a_stuck_step_holds_and_says_that_it_did_not_join(gate):
    held, model = gate('prefill'), FakeModel()
    model.before = held
    executor = MlcExecutor(lambda: model)
    executor.start()
    asker = Asker(executor)
    ticket = asker.submit()
    assert held.reached.wait(PATIENCE)
    assert not executor.shutdown(timeout=0.05)
    assert asker.wait(ticket).error_code == ErrorCode.SHUTTING_DOWN
    held.open.set()
    assert executor.shutdown(PATIENCE)
    assert asker.wait(ticket).error_code == ErrorCode.SHUTTING_DOWN
    assert model.closed and not model.sequences


def test_a_model_that_fails_to_close_still_lets_the_thread_end():
    model = FakeModel()

    def fail():
        raise RuntimeError('busy')

    model.close = fail
    executor = MlcExecutor(lambda: model)
    executor.start()
    assert executor.shutdown(PATIENCE)


def test_the_executor_keeps_no_model_alive_after_shutdown():
    executor = MlcExecutor(FakeModel)
    executor.start()
    model = weakref.ref(executor.model)
    Asker(executor).ask('a', frames=(gray(1),), keep_history=True)
    assert executor.shutdown(PATIENCE)
    assert model() is None


def test_ends_from_many_threads_at_once_are_one_end():
    for _ in range(20):
        executor = MlcExecutor(lambda: FakeModel(chatter))
        executor.start()
        asker = Asker(executor)
        tickets = [asker.submit(config=LONG) for _ in range(6)]
        at_once = threading.Barrier(4)

        def end(how):
            at_once.wait(PATIENCE)
            how()

        threads = [threading.Thread(target=end, args=(how,)) for how in (
            executor.shutdown, lambda: executor.abandon('Stuck.'), executor.shutdown,
            lambda: [ticket.cancel() for ticket in tickets])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        codes = {asker.wait(ticket).error_code for ticket in tickets}
        assert codes <= {ErrorCode.SHUTTING_DOWN, ErrorCode.MODEL_ERROR, ErrorCode.CANCELED}


def test_a_callback_may_abandon_its_own_executor(make):
    asker, _ = make(chatter)
    chunks, ended = [], threading.Event()

    def on_chunk(chunk):
        chunks.append(chunk)
        if not chunk.done:
            asker.executor.abandon('Enough.')

    asker.executor.submit(Query('q', 'go'), on_chunk, lambda answer: ended.set())
    assert ended.wait(PATIENCE)
    assert [(c.sequence, c.done) for c in chunks] == [(0, False), (1, True)]
