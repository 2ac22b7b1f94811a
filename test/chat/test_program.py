# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What Ctrl-C means when, without a terminal: signals that a test sends itself."""
import os
import signal

import pytest
from fakes import FakeModel

from nanovlm_ros.api import Model
from nanovlm_ros.chat import program as module
from nanovlm_ros.chat.conversation import Conversation
from nanovlm_ros.chat.entries import Text
from nanovlm_ros.chat.program import Program
from nanovlm_ros.chat.screen import Screen
from nanovlm_ros.types import GenerationConfig

ENTRIES = [Text('one'), Text('two'), Text('three')]


@pytest.fixture
def interrupted():
    """A program that gets a Ctrl-C as each answer begins, and the questions that were asked."""
    inner, asked = FakeModel(lambda turns: ' ' + 'x' * 99, token_seconds=0.001), []
    with Model(lambda: inner, max_sequences=1) as model:
        submit = model.submit

        def interrupt_and_submit(query):
            asked.append(query.prompt)
            os.kill(os.getpid(), signal.SIGINT)  # before there is a stream to cancel
            return submit(query)

        model.submit = interrupt_and_submit
        yield Program(Conversation(model, GenerationConfig), Screen(), json=False), asked


def test_two_ctrl_c_in_a_row_end_the_list_though_the_next_answer_has_begun(
        interrupted, monkeypatch):
    program, asked = interrupted
    monkeypatch.setattr(module, 'TWICE', 60.0)
    with pytest.raises(KeyboardInterrupt):
        program.run_list(ENTRIES)
    assert asked == ['one', 'two'] and program.failed == 1


def test_two_that_are_apart_stop_an_answer_each(interrupted, monkeypatch, capsys):
    program, asked = interrupted
    monkeypatch.setattr(module, 'TWICE', 0.0)
    program.run_list(ENTRIES)
    assert asked == ['one', 'two', 'three'] and program.failed == 3
    assert 'x' * 50 not in capsys.readouterr().out, 'stopped before there was a stream'


def test_ctrl_c_is_as_it_was_when_the_chat_has_ended(interrupted):
    before = signal.getsignal(signal.SIGINT)
    program, _ = interrupted
    program.run_list([])
    assert signal.getsignal(signal.SIGINT) is before
