# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The real demo model: what it keeps between questions never changes an answer."""
import numpy as np
import pytest
from driver import decode, prefill
from scenes import picture

from nanovlm_ros.engine.loader import load
from nanovlm_ros.engine.image_cache import CACHED_FRAMES
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

QUESTIONS = ['Describe the scene.', 'Is there a person?', 'How many boxes are there?']
LONGEST = 40  # tokens of an answer here


@pytest.fixture(scope='module')
def shared_model():
    """A model of two contexts of rows: little enough to be filled."""
    made = load(activations='float32', context_length=400, max_sequences=1)  # to compare exactly
    yield made
    made.close()


@pytest.fixture
def model(shared_model):
    shared_model.reset()
    yield shared_model
    running = list(shared_model._keys)
    for sequence in running:
        shared_model.release(sequence, keep=False)  # or all that follow would fail
    shared_model.reset()
    assert not running and free(shared_model) == slots(shared_model), 'rows leaked'


def free(model):
    return model._cache.free


def slots(model):
    return model._cache.slots


def answer(model, question, *frames, keep=True):
    """Return (tokens of a greedy answer, rows taken from the cache)."""
    sequence, shared, logits = prefill(model, model.tokenize([Turn(question, frames)]))
    tokens = []
    while len(tokens) < LONGEST:
        token = int(np.argmax(logits))
        if token in model.stop_ids:
            break
        tokens.append(token)
        logits = decode(model, [sequence], [token])[0]
    model.release(sequence, keep)
    assert tokens
    return tokens, shared


def fresh_answer(model, question, *frames):
    """Return the tokens of an answer from a model that remembers nothing."""
    model.reset()
    tokens, shared = answer(model, question, *frames, keep=False)
    assert shared == 0
    model.reset()
    return tokens


def refused(code, function, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        function(*arguments)
    assert caught.value.code == code
    return caught.value.message


def test_questions_about_one_frame_share_its_rows_and_get_the_same_answers(model):
    frame = picture(1)
    fresh = [fresh_answer(model, question, frame) for question in QUESTIONS]
    image_rows = model.tokenize([Turn('', (frame,))]).n_image_tokens
    for number, question in enumerate(QUESTIONS):
        tokens, shared = answer(model, question, frame)
        assert tokens == fresh[number]
        assert shared == 0 if number == 0 else shared > image_rows


def test_another_frame_of_the_same_picture_takes_nothing_but_the_words_before_it(model):
    first, second = picture(2), picture(2)
    answered, _ = answer(model, QUESTIONS[0], first)
    again, shared = answer(model, QUESTIONS[0], second)
    before = np.flatnonzero(model.tokenize([Turn('', (second,))]).keys < 0)[0]
    assert again == answered and shared == before


def test_a_conversation_goes_on_from_the_rows_of_its_first_turn(model):
    frame = picture(3)
    text = model.tokenizer.decode(answer(model, QUESTIONS[1], frame)[0])
    turns = [Turn(QUESTIONS[1], (frame,), text), Turn(QUESTIONS[2])]
    sequence, shared, logits = prefill(model, model.tokenize(turns))
    model.release(sequence, keep=False)
    assert shared >= model.tokenize([Turn(QUESTIONS[1], (frame,))]).n_tokens
    model.reset()
    sequence, _, fresh = prefill(model, model.tokenize(turns))
    model.release(sequence, keep=False)
    np.testing.assert_allclose(logits, fresh, atol=1e-3)


def test_answers_stay_right_while_old_prefixes_give_way(model):
    frames = [picture(number) for number in range(6)]
    fresh = [fresh_answer(model, QUESTIONS[0], frame) for frame in frames]
    assert len(set(map(tuple, fresh))) > 3, 'the pictures are told apart'
    rows = model.tokenize([Turn(QUESTIONS[0], frames[:1])]).n_tokens
    assert rows * len(frames) * 2 > slots(model), 'they cannot all be kept'
    least = slots(model)
    for turn in range(3):
        for frame, expected in zip(frames, fresh):
            for question in QUESTIONS:
                tokens, _ = answer(model, question, frame)
                if question == QUESTIONS[0]:
                    assert tokens == expected
                least = min(least, free(model))
    assert least < 120, 'the cache was full'


def first_logits(model, *frames):
    sequence, _, logits = prefill(model, model.tokenize([Turn(QUESTIONS[0], frames)]))
    model.release(sequence, keep=False)
    return logits.copy()


def test_making_room_for_new_frames_never_takes_those_of_the_same_prompt(model):
    old = [picture(0), picture(1)]
    new = [picture(2), picture(3)]
    expected = first_logits(model, *old, *new)
    model.reset()
    for frame in [*old, *(picture(4) for _ in range(CACHED_FRAMES - len(old)))]:
        model.see(frame)
    np.testing.assert_allclose(first_logits(model, *old, *new), expected, atol=1e-3)
    assert len(model._images) == CACHED_FRAMES


def test_a_prompt_that_does_not_fit_beside_the_running_ones_is_refused_and_harms_nothing(model):
    frame = picture(4)
    expected = fresh_answer(model, QUESTIONS[1], frame)
    for _ in range(3):
        running = [prefill(model, model.tokenize([Turn(QUESTIONS[0], tuple(
            picture(number) for number in range(5)))]))[0] for _ in range(2)]
        before = free(model)
        message = refused(ErrorCode.OUT_OF_MEMORY, prefill, model,
                          model.tokenize([Turn('x', (picture(8), picture(9)))]))
        assert 'rows free' in message and 'kv_cache_tokens to more than 800' in message
        assert free(model) == before
        decode(model, running, [5, 6])  # the others go on
        for sequence in running:
            model.release(sequence, keep=False)
    assert answer(model, QUESTIONS[1], frame)[0] == expected


def test_a_step_for_which_no_row_is_left_is_refused_and_changes_nothing(model):
    sequence, _, _ = prefill(model, model.tokenize([Turn(QUESTIONS[0])]))
    taken = model._cache.add()
    model._cache.extend(taken, free(model))
    refused(ErrorCode.OUT_OF_MEMORY, decode, model, [sequence], [5])
    model._cache.remove(taken)
    decode(model, [sequence], [5])
    model.release(sequence, keep=False)


def test_a_reset_forgets_everything_that_was_kept(model):
    frame = picture(1)
    answer(model, QUESTIONS[0], frame)
    assert free(model) < slots(model)
    model.reset()
    assert free(model) == slots(model)
    assert answer(model, QUESTIONS[0], frame)[1] == 0


def test_a_corrupt_frame_fails_its_prompt_and_leaves_no_rows(model):
    def fail():
        raise NanoVlmError(ErrorCode.BAD_IMAGE, 'The picture is corrupt.')
    prompt = model.tokenize([Turn('x', (Frame(fail, width=8, height=8),))])
    refused(ErrorCode.BAD_IMAGE, prefill, model, prompt)
    assert free(model) == slots(model)
