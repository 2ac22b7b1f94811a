# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The life of a request: order, batches, ends."""
import os
import random
import signal
import threading
import time

import pytest
from asker import Asker
from fakes import FakeModel, broken_frame, gray

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.interrupt import guarded
from nanovlm_ros.types import ErrorCode, NanoVlmError, Query


def refused(call, *arguments, **fields):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, **fields)
    return caught.value


def test_an_answer_says_everything_about_itself(make):
    asker, model = make()
    answer = asker.ask('what?', frames=(gray(7, stamp_ns=5, frame_id='cam', camera='front'),),
                       image_ages=(0.25,))
    assert (answer.text, answer.finish_reason) == ('what?|7|1', 'stop')
    image, = answer.images
    assert (image.stamp_ns, image.frame_id, image.camera) == (5, 'cam', 'front')
    assert (image.width, image.height, image.age) == (8, 8, 0.25)
    assert (answer.prompt_tokens, answer.image_tokens) == (9, 4)
    assert answer.completion_tokens == len(' what?|7|1')
    assert answer.model == 'fake' and answer.error_code == ErrorCode.NONE
    assert 0 < answer.timings.first_token <= answer.timings.total


def test_one_thread_does_all_the_work_from_loading_to_closing():
    names, model = [], FakeModel()

    def load():
        names.append(threading.current_thread().name)
        return model

    executor = MlcExecutor(load)
    executor.start()
    assert executor.shutdown()
    assert {*names, *model.threads} == {'mlc-executor'} and model.closed
    assert 'mlc-executor' not in [t.name for t in threading.enumerate()]


def start_and_press_ctrl_c(executor, loading):
    """Start an executor, which is interrupted once `loading` is set."""
    timer = threading.Thread(
        target=lambda: (loading.wait(), os.kill(os.getpid(), signal.SIGINT)))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        executor.start()
    timer.join()


def test_ctrl_c_while_a_model_loads_waits_for_it_and_ends():
    loading = threading.Event()
    model = FakeModel()

    def load():
        loading.set()
        time.sleep(0.2)
        return model

    executor = MlcExecutor(load)
    start_and_press_ctrl_c(executor, loading)
    assert model.closed and not executor._thread.is_alive()


def test_ctrl_c_stops_a_download_or_a_conversion_where_it_tells_of_its_progress():
    loading, told = threading.Event(), []

    def load():
        progress = guarded(lambda stage, done, total: told.append(done))
        for done in range(3000):
            progress('download', done, 3000)
            loading.set()
            time.sleep(0.01)

    executor = MlcExecutor(load)
    start_and_press_ctrl_c(executor, loading)
    assert len(told) < 1000 and not executor._thread.is_alive()


def test_start_raises_what_loading_raised():
    def load():
        raise NanoVlmError(ErrorCode.MODEL_ERROR, 'config.json is missing.')

    executor = MlcExecutor(load)
    assert refused(executor.start).message == 'config.json is missing.'
    assert refused(executor.submit, None, None, None).code == ErrorCode.NOT_READY
    assert executor.shutdown()


def test_a_query_joins_a_running_batch_and_the_answers_stay_the_same(make):
    asker, model = make(token_seconds=0.002)
    tickets = [asker.submit(f'question {i}', frames=(gray(i),)) for i in range(4)]
    assert [asker.wait(t).text for t in tickets] == [f'question {i}|{i}|1' for i in range(4)]
    assert max(model.batches) == 4


def test_no_more_than_max_sequences_run_together(make):
    asker, model = make(max_sequences=2, token_seconds=0.001)
    tickets = [asker.submit() for _ in range(5)]
    for ticket in tickets:
        asker.wait(ticket)
    assert max(model.batches) == 2


def test_a_full_queue_refuses_and_names_its_size(make, gate):
    held = gate('prefill')
    asker, _ = make(queue_size=2, before=held)
    asker.submit()
    held.reached.wait()
    waiting = [asker.submit(), asker.submit()]
    error = refused(asker.submit)
    assert error.code == ErrorCode.QUEUE_FULL and '2 requests' in error.message
    held.open.set()
    assert [asker.wait(t).finish_reason for t in waiting] == ['stop', 'stop']


def test_a_newer_live_tick_takes_the_place_of_the_waiting_one(make, gate):
    held = gate('prefill')
    asker, _ = make(before=held, max_sequences=1)
    asker.submit('running')
    held.reached.wait()
    old, new = asker.submit('old', live=True), asker.submit('new', live=True)
    query = asker.submit('query')
    answer = asker.wait(old)
    assert answer.error_code == ErrorCode.CANCELED and 'newer' in answer.error_message
    assert asker.executor.stats().live_missed == 1
    held.open.set()
    asker.wait(new)
    assert asker.ended[query.request_id].is_set(), 'queries go before live ticks'


def test_cancel_ends_a_waiting_request_before_it_starts(make, gate):
    held = gate('decode')
    asker, model = make(before=held, max_sequences=1)
    running = asker.submit()
    held.reached.wait()
    waiting = asker.submit()
    waiting.cancel()
    held.open.set()
    answer = asker.wait(waiting)
    assert (answer.finish_reason, answer.error_code) == ('canceled', ErrorCode.CANCELED)
    assert answer.completion_tokens == 0
    assert asker.wait(running).finish_reason == 'stop'


def test_cancel_ends_a_running_request_with_the_text_so_far(make):
    ticket = []

    def before(stage):
        if stage == 'decode' and model.batches == [1] * 5:
            ticket[0].cancel()

    asker, model = make(lambda turns: 'x' * 1000, before=before)
    model.before = lambda stage: None
    held = threading.Event()
    model.before = lambda stage: (held.wait(10) if stage == 'prefill' else before(stage))
    ticket.append(asker.submit(config={'max_new_tokens': 1000}))
    held.set()
    answer = asker.wait(ticket[0])
    assert answer.finish_reason == 'canceled'
    assert 0 < len(answer.text) < 10
    assert not model.sequences


def test_cancel_after_the_end_changes_nothing(make):
    asker, _ = make()
    ticket = asker.submit()
    asker.wait(ticket)
    ticket.cancel()
    asker.ask()
    assert asker.wait(ticket).finish_reason == 'stop' and ticket.done


def test_a_deadline_ends_a_running_request_with_the_text_so_far(make):
    asker, _ = make(lambda turns: 'x' * 1000, token_seconds=0.01)
    answer = asker.ask(config={'max_new_tokens': 1000}, deadline=time.monotonic() + 0.2)
    assert (answer.finish_reason, answer.error_code) == ('timeout', ErrorCode.TIMEOUT)
    assert answer.text


def test_a_deadline_ends_a_waiting_request_while_others_run(make):
    asker, _ = make(lambda turns: 'x' * 300, token_seconds=0.005, max_sequences=1)
    running = asker.submit(config={'max_new_tokens': 300})
    waiting = asker.submit(deadline=time.monotonic() + 0.1)
    assert asker.wait(waiting).finish_reason == 'timeout'
    assert not running.done
    running.cancel()
    asker.wait(running)


@pytest.mark.parametrize('stage', ['preprocess', 'vision', 'prefill', 'decode'])
@pytest.mark.parametrize('error, code', [
    (RuntimeError('bad kernel'), ErrorCode.MODEL_ERROR),
    (MemoryError('1 GB'), ErrorCode.OUT_OF_MEMORY),
    (NanoVlmError(ErrorCode.OUT_OF_MEMORY, 'No rows.'), ErrorCode.OUT_OF_MEMORY)])
def test_a_failing_step_fails_its_request_and_the_executor_goes_on(make, stage, error, code):
    def fail(current):
        if current == stage:
            model.before = lambda stage: None
            raise error

    asker, model = make(before=fail)
    answer = asker.ask(frames=(gray(1),))
    assert (answer.finish_reason, answer.error_code) == ('error', code)
    assert str(error) in answer.error_message
    assert not model.sequences
    assert asker.ask().finish_reason == 'stop'


def test_a_corrupt_picture_harms_no_neighbour(make):
    asker, _ = make(token_seconds=0.002)
    good = asker.submit('good')
    bad = asker.submit('bad', frames=(broken_frame(),))
    assert asker.wait(bad).error_code == ErrorCode.BAD_IMAGE
    assert asker.wait(good).text == 'good||1'


def test_shutdown_ends_running_and_waiting_requests_once(gate):
    held = gate('decode')
    model = FakeModel(before=held)
    executor = MlcExecutor(lambda: model, max_sequences=1)
    executor.start()
    asker = Asker(executor)
    tickets = [asker.submit() for _ in range(3)]
    held.reached.wait()
    held.open.set()
    assert executor.shutdown() and executor.shutdown()
    for ticket in tickets:
        assert asker.wait(ticket).error_code == ErrorCode.SHUTTING_DOWN
    assert model.closed
    assert refused(asker.submit).code == ErrorCode.SHUTTING_DOWN


def test_abandon_ends_everything_although_a_step_is_stuck(make, gate):
    held = gate('decode')
    asker, _ = make(before=held, max_sequences=1)
    tickets = [asker.submit(), asker.submit()]
    held.reached.wait()
    assert asker.executor.stats().stuck_for >= 0
    asker.executor.abandon('A step has been stuck for 30 s.')
    for ticket in tickets:
        answer = asker.wait(ticket)
        assert answer.error_code == ErrorCode.MODEL_ERROR
        assert answer.error_message == 'A step has been stuck for 30 s.'
    assert refused(asker.submit).code == ErrorCode.NOT_READY
    held.open.set()
    time.sleep(0.05)
    for ticket in tickets:
        asker.wait(ticket)  # still one end


def test_a_callback_that_raises_harms_nobody(make):
    asker, _ = make()

    def fail(_):
        raise RuntimeError('in the callback')

    asker.executor.submit(Query('x', 'hello'), fail, fail)
    assert asker.ask().finish_reason == 'stop'


@pytest.mark.parametrize('fields, words', [
    ({'prompt': '  \n'}, 'empty'),
    ({'prompt': 'x' * 100_000}, 'shorten'),
    ({'frames': tuple(gray(0) for _ in range(9))}, 'at most 8'),
    ({'config': {'temperature': -1.0}}, 'temperature'),
    ({'config': {'temperature': float('nan')}}, 'temperature'),
    ({'config': {'top_p': 0.0}}, 'top_p'),
    ({'config': {'repetition_penalty': 0.0}}, 'repetition_penalty'),
    ({'config': {'max_new_tokens': 0}}, 'max_new_tokens'),
    ({'config': {'stop': ('',)}}, 'empty')])
def test_a_query_that_makes_no_sense_is_refused_with_a_sentence(make, fields, words):
    asker, _ = make()
    error = refused(asker.submit, **fields)
    assert error.code == ErrorCode.INVALID_REQUEST and words in error.message


def test_a_prompt_that_fills_the_context_is_refused_with_the_numbers(make):
    asker, _ = make(context_length=100)
    answer = asker.ask('x' * 100)
    assert answer.error_code == ErrorCode.CONTEXT_OVERFLOW
    assert '100 tokens' in answer.error_message


@pytest.mark.parametrize('config, context, length', [
    ({'max_new_tokens': 7}, 4096, 7), ({'max_new_tokens': 500}, 40, 35)])
def test_an_answer_ends_at_its_limit_or_at_the_end_of_the_context(make, config, context, length):
    asker, _ = make(lambda turns: 'x' * 1000, context_length=context)
    answer = asker.ask(config=config)  # 'hello' takes 5 tokens
    assert (answer.finish_reason, len(answer.text)) == ('length', length)


def test_history_continues_a_conversation_only_when_asked_to(make):
    asker, _ = make()
    assert asker.ask('a', keep_history=True).text == 'a||1'
    assert asker.ask('b', keep_history=True).text == 'b||2'
    assert asker.ask('c').text == 'c||1'
    assert asker.ask('d', keep_history=True).text == 'd||3'
    asker.executor.reset()
    assert asker.ask('e', keep_history=True).text == 'e||1'


def test_a_failed_turn_leaves_no_trace_in_the_history(make):
    asker, model = make()
    asker.ask('a', keep_history=True)
    asker.ask('b', keep_history=True, frames=(broken_frame(),))
    assert asker.ask('c', keep_history=True).text == 'c||2'


def test_two_turns_of_the_conversation_never_run_together(make):
    asker, model = make(token_seconds=0.001)
    tickets = [asker.submit(str(i), keep_history=True) for i in range(3)]
    assert [asker.wait(t).text for t in tickets] == ['0||1', '1||2', '2||3']


def test_every_one_of_200_requests_from_4_threads_ends_once(make):
    asker, model = make(token_seconds=0.0002, queue_size=300)
    tickets, lock = [], threading.Lock()

    def work(seed):
        choose = random.Random(seed)
        for _ in range(50):
            ticket = asker.submit('some question', config={'max_new_tokens': 12})
            if choose.random() < 0.5:
                ticket.cancel()
            with lock:
                tickets.append(ticket)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reasons = {asker.wait(ticket).finish_reason for ticket in tickets}
    assert len(tickets) == 200 and reasons == {'canceled', 'length'}
    assert not model.sequences


def test_a_live_tick_is_missed_while_another_runs(make, gate):
    held = gate('decode')
    asker, _ = make(before=held)
    running = asker.submit('running', live=True)
    held.reached.wait()
    query = Query('second', 'second')
    assert asker.executor.submit_tick([query], lambda chunk: None, lambda answer: None) == []
    held.open.set()
    assert asker.wait(running).error_code == ErrorCode.NONE


def test_a_conversation_never_has_more_images_than_the_model_takes(make):
    asker, _ = make(max_images=1)
    assert asker.ask('a', keep_history=True, frames=(gray(1),)).error_code == ErrorCode.NONE
    answer = asker.ask('b', keep_history=True, frames=(gray(2),))
    assert answer.error_code == ErrorCode.INVALID_REQUEST and '2 images' in answer.error_message
    assert asker.ask('c', keep_history=True).error_code == ErrorCode.NONE
