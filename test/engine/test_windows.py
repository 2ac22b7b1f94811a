# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The real demo model and the windows of its cameras: right, shared, and without leaks."""
import numpy as np
import pytest
from driver import decode, prefill
from scenes import picture

from nanovlm_ros.engine.loader import load
from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

QUESTIONS = ['What changed?', 'Describe the scene.', 'In how many frames is there a person?']


@pytest.fixture(scope='module')
def shared_model():
    """A model of three contexts of rows."""
    made = load(activations='float32', context_length=700, max_sequences=2)  # to compare exactly
    yield made
    made.close()


@pytest.fixture
def model(shared_model):
    shared_model.reset()
    yield shared_model
    shared_model.reset()
    assert shared_model._cache.free == shared_model._cache.slots, 'rows leaked'


def keep_up(model, name, window):
    """Let the model catch up with a window; return how many calls it took."""
    calls = 1
    while not model.watch(name, window.generations()):
        calls += 1
    return calls


def logits(model, question, generation, frames, system_prompt=''):
    """Return (logits after the prompt, rows from the cache)."""
    prompt = model.tokenize([Turn(question, frames)], system_prompt)
    sequence, shared, found = prefill(model, prompt, generation)
    model.release(sequence, keep=False)
    return found.copy(), shared


def rolled(model, count, frames=4, max_rolls=0):
    """Return a window after `count` frames, which the model has kept up with."""
    window = FrameWindow(frames, 1.0, max_rolls)
    for number in range(count):
        window.add(picture(number % 7), number)
        assert keep_up(model, '', window) == 1
    return window


@pytest.mark.parametrize('count', [1, 3, 4, 5, 6, 11])
def test_a_window_that_drops_nothing_gives_the_logits_of_its_frames_computed_at_once(model, count):
    window = rolled(model, count)
    number, frames = window.generations()[0]
    for question in QUESTIONS:
        kept, shared = logits(model, question, number, frames)
        at_once, _ = logits(model, question, 0, frames)
        assert shared > 64 * len(frames)
        np.testing.assert_allclose(kept, at_once, atol=1e-3)


def test_a_window_that_dropped_frames_holds_the_same_number_of_rows_and_answers(model):
    window = rolled(model, 4, max_rolls=1000)
    full = model._cache.free
    for number in range(4, 40):
        window.add(picture(number % 7), number)
        keep_up(model, '', window)
    assert model._cache.free == full
    number, frames = window.generations()[0]
    assert len(frames) == 4 and logits(model, QUESTIONS[0], number, frames)[1] > 64 * 4


def test_a_thousand_rolls_with_questions_between_lose_no_row(model):
    window = rolled(model, 4)
    prompt_rows = []
    for number in range(4, 1004):
        window.add(Frame.from_rgb(np.zeros((1, 1, 3), np.uint8)), number)
        frames = [frame for _, held in window.generations() for frame in held]
        for frame in frames:  # the tower's time is not what this is about
            model._vision._embeddings.setdefault(
                frame.key, model._vision._embeddings[next(iter(model._vision._embeddings))])
        keep_up(model, '', window)
        if not number % 50:
            generation, held = window.generations()[0]
            prompt_rows.append(logits(model, 'Is the door open?', generation, held)[1])
    assert all(rows > 64 * 3 for rows in prompt_rows)
    generations = window.generations()
    in_use = model._cache.slots - model._cache.free
    assert in_use == sum(model.layout().end(len(frames)) for _, frames in generations)


def test_several_questions_share_a_window_while_it_rolls_on(model):
    window = rolled(model, 4)
    number, frames = window.generations()[0]
    expected = [logits(model, question, number, frames)[0] for question in QUESTIONS]
    open_ones = [prefill(model, model.tokenize([Turn(question, frames)]), number)
                 for question in QUESTIONS]
    for roll in range(3):
        window.add(picture(roll), 10 + roll)
        keep_up(model, '', window)
    for (_, _, found), right in zip(open_ones, expected):
        np.testing.assert_allclose(found, right, atol=1e-4)
    decode(model, [sequence for sequence, _, _ in open_ones], [5, 6, 7])
    for sequence, _, _ in open_ones:
        model.release(sequence, keep=True)
    assert len(model._prefixes) == 3  # rows that know no dropped frame serve as any others


def test_rows_that_know_dropped_frames_are_never_kept_for_other_prompts(model):
    window = rolled(model, 5, max_rolls=100)
    number, frames = window.generations()[0]
    sequence, shared, _ = prefill(model, model.tokenize([Turn('x', frames)]), number)
    assert shared > 64 * 4
    model.release(sequence, keep=True)
    assert len(model._prefixes) == 0


def test_a_chat_about_a_window_goes_on_from_its_rows(model):
    window = rolled(model, 4)
    number, frames = window.generations()[0]
    turns = [Turn(QUESTIONS[0], frames)]
    sequence, _, _ = prefill(model, model.tokenize(turns), number)
    model.release(sequence, keep=True)
    turns = [Turn(QUESTIONS[0], frames, ''), Turn(QUESTIONS[1])]
    _, shared = model._known(model.tokenize(turns), 0)
    assert shared > 64 * 4


def test_a_window_is_kept_under_the_system_prompt_of_its_questions(model):
    window = FrameWindow(4, 1.0, 0)
    for number in range(4):
        window.add(picture(number), number)
    generations = window.generations()
    while not model.watch('', generations, system_prompt='Be brief.'):
        pass
    number, frames = generations[0]
    kept, shared = logits(model, QUESTIONS[0], number, frames, 'Be brief.')
    assert shared > 64 * 4
    np.testing.assert_allclose(
        kept, logits(model, QUESTIONS[0], 0, frames, 'Be brief.')[0], atol=1e-3)
    while not model.watch('', generations):  # another one: its rows are run anew
        pass
    assert logits(model, QUESTIONS[0], number, frames)[1] > 64 * 4


def test_a_frame_joins_in_chunks_and_gives_the_same_rows(model):
    window = FrameWindow(4, 1.0, 0)
    for stamp in range(7):
        window.add(picture(stamp), stamp)
        before = model._cache.free
        while not model.watch('', window.generations(), limit=20):
            assert before - model._cache.free <= 20
            before = model._cache.free
    number, frames = window.generations()[0]
    kept, shared = logits(model, QUESTIONS[0], number, frames)
    assert shared > 64 * len(frames)
    np.testing.assert_allclose(kept, logits(model, QUESTIONS[0], 0, frames)[0], atol=1e-3)


def test_a_frame_that_had_half_joined_makes_way_for_another(model):
    window = rolled(model, 2)
    (number, frames), *_ = window.generations()
    other, wanted = picture(5), picture(6)
    assert not model.watch('', [(number, (*frames, other))], limit=20)
    assert model.watch('', [(number, (*frames, wanted))])
    kept, shared = logits(model, QUESTIONS[0], number, (*frames, wanted))
    assert shared > 64 * 3
    np.testing.assert_allclose(
        kept, logits(model, QUESTIONS[0], 0, (*frames, wanted))[0], atol=1e-3)


def test_a_question_before_the_newest_frame_has_joined_starts_from_the_others(model):
    window = rolled(model, 3)
    window.add(picture(3), 3)
    number, frames = window.generations()[0]
    found, shared = logits(model, QUESTIONS[0], number, frames)
    assert 64 * 3 < shared < 64 * 4
    np.testing.assert_allclose(found, logits(model, QUESTIONS[0], 0, frames)[0], atol=1e-3)


def test_more_frames_than_the_context_holds_are_refused_and_leave_nothing(model):
    frames = tuple(picture(n % 7) for n in range(11))
    with pytest.raises(NanoVlmError) as caught:
        while not model.watch('', [(1, frames)]):
            pass
    assert caught.value.code == ErrorCode.CONTEXT_OVERFLOW and '700' in caught.value.message
    assert model._cache.free == model._cache.slots


def test_what_the_window_does_not_hold_is_computed_exactly(model):
    window = rolled(model, 6, max_rolls=100)
    number, frames = window.generations()[0]
    for asked in (frames[1:], frames[::-1], frames[:1] + frames[2:]):
        found, _ = logits(model, QUESTIONS[0], number, asked)
        np.testing.assert_allclose(found, logits(model, QUESTIONS[0], 0, asked)[0], atol=1e-3)
    own, shared = logits(model, QUESTIONS[0], number, frames, 'Be brief.')
    assert shared < 64
    np.testing.assert_allclose(own, logits(model, QUESTIONS[0], 0, frames, 'Be brief.')[0],
                               atol=1e-3)


def test_a_window_gives_way_to_running_prompts_and_comes_back(model):
    window = rolled(model, 8, frames=8)
    others = [prefill(model, model.tokenize([Turn('x', tuple(
        picture(n) for n in range(9)))]))[0] for _ in range(3)]  # hardly any row is left
    number, frames = window.generations()[0]
    assert not len(model._windows)
    for sequence in others:
        model.release(sequence, keep=False)
    exact, shared = logits(model, QUESTIONS[0], number, frames)
    assert shared < 64  # answered all the same
    assert keep_up(model, '', window) == 8
    again, shared = logits(model, QUESTIONS[0], number, frames)
    assert shared > 64 * 8
    np.testing.assert_allclose(again, exact, atol=1e-3)


def test_a_frame_that_cannot_be_decoded_leaves_the_window_as_it_was(model):
    def fail():
        raise NanoVlmError(ErrorCode.BAD_IMAGE, 'The picture is corrupt.')
    window = rolled(model, 3, frames=8)
    width, height, frame_id = picture(3).format
    window.add(Frame(fail, width=width, height=height, frame_id=frame_id), 3)
    with pytest.raises(NanoVlmError, match='corrupt'):
        keep_up(model, '', window)
    window.add(picture(4), 4)
    keep_up(model, '', window)
    number, frames = window.generations()[0]
    assert len(frames) == 4
    assert logits(model, QUESTIONS[0], number, frames)[1] > 64 * 4


def test_an_exact_window_only_passes_the_vision_tower(model):
    window = FrameWindow(4, 1.0)
    for number in range(3):
        window.add(picture(number), number)
    calls = 1
    while not model.watch('', window.generations(), rolling=False):
        calls += 1
    assert calls == 3 and len(model._images) == 3
    assert model._cache.free == model._cache.slots
