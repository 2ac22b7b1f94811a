# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which pictures a question is about, and what a conversation remembers."""
import threading
import time

import pytest
from fakes import FakeModel, broken_frame, gray

from nanovlm_ros.api import Model
from nanovlm_ros.chat.conversation import Conversation
from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError


@pytest.fixture
def make():
    """Return a function that starts a conversation with a FakeModel of these options."""
    models = []

    def start(config=GenerationConfig(), max_images=8, **options):
        inner = FakeModel(max_images=max_images)
        models.append(Model(lambda: inner, max_sequences=1))
        return Conversation(models[-1], lambda: config, **options), inner

    yield start
    for model in models:
        model.close()


def said(conversation, text):
    pieces = []
    answer = conversation.ask(text, pieces.append)
    assert ''.join(pieces) == answer.text
    return answer.text


def refused(call, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments)
    return caught.value


def test_pictures_wait_for_the_next_question_in_their_order_and_stay_in_the_chat(make):
    chat, inner = make()
    turns = []
    inner.reply = lambda t: turns.append(t) or ' yes'
    for value in (10, 20):
        chat.show(gray(value))
    for text in ('What?', 'And?'):
        said(chat, text)
    chat.show(gray(30))
    said(chat, 'Now?')
    assert [[len(turn.frames) for turn in asked] for asked in turns] == [[2], [2, 0], [2, 0, 1]]
    assert [turn.assistant for turn in turns[-1]] == ['yes', 'yes', None]


def test_a_reset_empties_all_of_it(make):
    chat, inner = make(max_images=2)
    chat.show(gray(1))
    said(chat, 'a')
    chat.show(gray(2))
    chat.reset()
    assert inner.resets and said(chat, 'b') == 'b||1'
    for value in (3, 4):
        chat.show(gray(value))
    assert said(chat, 'c') == 'c|3,4|2'


@pytest.mark.parametrize('most, words', [(1, 'fake takes a single one'), (2, 'takes at most 2')])
def test_one_picture_too_many_is_refused_with_a_sentence_and_the_chat_goes_on(make, most, words):
    chat, _ = make(max_images=most)
    for value in range(most - 1):
        chat.show(gray(value))
    said(chat, 'a')
    chat.show(gray(7))
    for _ in range(2):  # while it waits, and when it was asked about
        error = refused(chat.show, gray(9, frame_id='b.jpg'))
        assert error.code == ErrorCode.INVALID_REQUEST
        assert error.message.startswith('b.jpg is one picture too many: ')
        assert words in error.message and error.message.endswith('with reset before it.')
        assert said(chat, 'b').startswith('b|')
    chat.reset()
    chat.show(gray(5))
    assert said(chat, 'c') == 'c|5|1'


def test_a_model_that_does_not_say_how_many_takes_one(monkeypatch):
    inner = FakeModel()
    with Model(lambda: inner) as model:
        assert model.max_images == 8
    monkeypatch.delattr(inner, 'max_images')
    monkeypatch.setattr('nanovlm_ros.engine.executor.check_query', lambda *_: None)
    with Model(lambda: inner) as model:
        assert model.max_images == 1


def test_a_picture_that_cannot_be_decoded_is_refused_when_it_is_shown(make):
    chat, _ = make()
    assert refused(chat.show, broken_frame()).code == ErrorCode.BAD_IMAGE
    assert said(chat, 'a') == 'a||1'


def test_a_question_that_fails_leaves_the_chat_as_it_was(make):
    chat, inner = make()
    chat.show(gray(10))
    assert refused(said, chat, 'x' * 5000).code == ErrorCode.CONTEXT_OVERFLOW
    assert said(chat, 'a') == 'a|10|1'
    inner.before = lambda stage: (_ for _ in ()).throw(RuntimeError('broken'))
    assert refused(said, chat, 'b').code == ErrorCode.MODEL_ERROR
    inner.before = lambda stage: None
    assert said(chat, 'c') == 'c||2'


def test_an_answer_that_is_stopped_is_not_remembered_and_its_picture_waits(make):
    chat, inner = make(GenerationConfig(max_new_tokens=1000))
    reply, inner.reply, inner.token_seconds = inner.reply, lambda turns: ' ' + 'x' * 999, 0.005
    chat.show(gray(10))
    assert chat.stop() is False
    pieces, results = [], []

    def on_delta(piece):
        pieces.append(piece)
        if len(pieces) == 5:
            results.extend([chat.stop(), chat.stop()])

    answer = chat.ask('a', on_delta)
    assert results == [True, False] and chat.stop() is False
    assert answer.finish_reason == 'canceled' and 5 <= len(answer.text) < 100
    inner.reply, inner.token_seconds = reply, 0
    assert said(chat, 'b') == 'b|10|1'


def test_an_answer_can_be_stopped_before_its_first_word(make):
    chat, inner = make()
    held = threading.Event()
    inner.before = lambda stage: held.wait(20)

    def stop():
        while not chat.stop():
            time.sleep(0.001)
        held.set()

    thread = threading.Thread(target=stop)
    thread.start()
    assert chat.ask('a', lambda piece: None).finish_reason == 'canceled'
    thread.join()


def test_what_the_chat_was_told_goes_with_every_question(make):
    schema = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
    chat, inner = make(GenerationConfig(max_new_tokens=64), json_schema=schema)
    asked = []
    inner.reply = lambda turns: asked.append(turns[-1].user) or '{"a": 1}'
    assert chat.ask('x', lambda piece: None).json == '{"a": 1}'
    assert asked == ['x Answer in JSON with the keys: a.']
