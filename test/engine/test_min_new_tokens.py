# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""min_new_tokens: an answer does not stop of itself before."""
import json

import numpy as np
import pytest
from fakes import EOS, FakeTokenizer

from nanovlm_ros.types import ErrorCode, NanoVlmError

SCHEMA = json.dumps({'type': 'object', 'properties': {'a': {'type': 'boolean'}},
                     'required': ['a'], 'additionalProperties': False})


def chatter(position):
    """Logits that want the end most, and x next."""
    row = np.zeros(FakeTokenizer.vocab_size, np.float32)
    row[EOS], row[ord('x')] = 50, 40
    return row


@pytest.mark.parametrize('least, said', [(0, ''), (1, 'x'), (7, 'xxxxxxx')])
def test_stop_tokens_are_passed_over_until_it_is_reached_and_not_longer(make, least, said):
    asker, _ = make(logits=chatter)
    answer = asker.ask(config={'min_new_tokens': least})
    assert (answer.text, answer.completion_tokens, answer.finish_reason) == (said, least, 'stop')


def test_a_longer_answer_is_as_it_would_be_without(make):
    asker, _ = make(lambda turns: ' twelve chars')
    assert asker.ask(config={'min_new_tokens': 5}).text == 'twelve chars'


def test_a_stop_string_ends_an_answer_before(make):
    asker, _ = make(lambda turns: ' one###two')
    answer = asker.ask(config={'min_new_tokens': 100, 'stop': ('###',)})
    assert (answer.text, answer.finish_reason) == ('one', 'stop')


def test_a_json_document_ends_where_it_is_whole(make):
    asker, _ = make(lambda turns: '{"a": true}')
    answer = asker.ask(json_schema=SCHEMA, config={'min_new_tokens': 100})
    assert (answer.json, answer.finish_reason) == ('{"a": true}', 'stop')


def test_the_least_may_be_the_most(make):
    asker, _ = make(logits=chatter)
    answer = asker.ask(config={'min_new_tokens': 4, 'max_new_tokens': 4})
    assert (answer.text, answer.finish_reason) == ('xxxx', 'length')


@pytest.mark.parametrize('least', [-1, 129])
def test_what_cannot_be_is_refused_with_a_sentence(make, least):
    asker, _ = make()
    with pytest.raises(NanoVlmError) as caught:
        asker.ask(config={'min_new_tokens': least})
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    assert caught.value.message == (
        f'min_new_tokens is {least}; it must be between 0 and max_new_tokens, 128.')
