# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The questions file: each feature is read, each mistake is a sentence that names its place."""
from pathlib import Path

import pytest
from recordings import write_questions

from nanovlm_ros.bag.questions import load_questions
from nanovlm_ros.types import NanoVlmError

SCHEMA = {'type': 'object', 'properties': {'door': {'enum': ['open', 'closed', None]}}}
EXAMPLE = Path(__file__).parents[2] / 'config' / 'eval' / 'questions.yaml'


def read(tmp_path, *questions, **defaults):
    return load_questions(write_questions(tmp_path, *questions, **defaults))


def test_what_is_not_said_has_a_default(tmp_path):
    question, = read(tmp_path, {})
    assert question.as_dict() == {
        'id': 'q0', 'phrasings': ['ask 0'], 'json_schema': None, 'source': 'latest',
        'window_frames': 1, 'window_period_s': 0.0, 'window_mode': 'rolling', 'cameras': [],
        'period_s': 0.0, 'stamps': [],
        'score': 'normalised', 'choices': [], 'tolerance': 0.0, 'field_scores': {}, 'event': '',
        'truth': None, 'system_prompt': '', 'max_new_tokens': 128}


def test_defaults_hold_for_every_question_that_says_nothing_else(tmp_path):
    one, other = read(tmp_path, {}, {'period': 2}, period=1, max_new_tokens=9)
    assert (one.period_s, other.period_s, other.max_new_tokens) == (1, 2, 9)


def test_a_window_makes_the_source_a_window(tmp_path):
    question, = read(tmp_path, {'window': {'frames': 4, 'period': 0.5}})
    assert (question.source, question.window_frames, question.window_period_s) == (
        'window', 4, 0.5)


def test_a_schema_may_be_a_file_beside_the_questions(tmp_path):
    (tmp_path / 'door.json').write_text('{"type": "object"}')
    question, = read(tmp_path, {'json_schema': 'door.json'})
    assert question.json_schema == {'type': 'object'} and question.score == 'json'


def test_the_example_shows_every_key():
    from nanovlm_ros.bag.questions import KEYS
    text = EXAMPLE.read_text()
    assert load_questions(EXAMPLE)
    assert [key for key in KEYS if f'{key}:' not in text] == []


@pytest.mark.parametrize('question, said', [
    ({'id': 'a b'}, '`id`'), ({'id': 7}, '`id`'),
    ({'prompt': ' '}, 'prompt is empty'), ({'phrasings': [], 'prompt': 'x'}, 'phrasings'),
    ({'colour': 1}, "'colour' is unknown"), ({'score': 'vibes'}, '`score`'),
    ({'score': 'choice'}, 'choices'), ({'score': 'json'}, 'json_schema'),
    ({'choices': [True, False]}, 'quotes'), ({'period': -1}, '`period`'),
    ({'period': 1, 'stamps': [1]}, 'exclude'), ({'stamps': ['now']}, '`stamps`'),
    ({'source': 'window'}, 'go together'), ({'window': 4}, '`window`'),
    ({'window': {'frames': 0}}, 'window.frames'), ({'window': {'frames': 2.5}}, 'whole'),
    ({'window': {'frames': 2}, 'cameras': ['/a', '/b']}, 'one camera'),
    ({'json_schema': {'type': 'sing'}}, 'not a JSON schema'),
    ({'json_schema': 'missing.json'}, 'missing.json'),
    ({'json_schema': SCHEMA, 'fields': {'window': 'exact'}}, "'window'"),
    ({'json_schema': SCHEMA, 'fields': {'door': 'json'}}, 'fields.door'),
    ({'json_schema': SCHEMA, 'truth': {'constant': {'door': 'ajar'}}}, 'no answer could be right'),
    ({'window': {'frames': 2, 'mode': 'sing'}}, 'window.mode'),
    ({'score': 'choice', 'choices': ['a', 'b'], 'event': 'opened'}, '`event`'),
    ({'score': 'number', 'event': 'many'}, '`event`'),
    ({'score': 'yes_no', 'event': 'Perhaps.'}, '`event`'),
    ({'truth': 'Yes.'}, '`truth`'), ({'truth': {'labels': 'x.jsonl'}}, 'field'),
    ({'truth': {'constant': 1, 'topic': '/x'}}, '`truth`'),
    ({'max_new_tokens': 0}, 'max_new_tokens')])
def test_a_mistake_names_file_line_and_key(tmp_path, question, said):
    with pytest.raises(NanoVlmError) as caught:
        read(tmp_path, question)
    assert said in caught.value.message
    assert f'{tmp_path / "questions.yaml"}, line 1' in caught.value.message
    assert caught.value.message.endswith('.')


@pytest.mark.parametrize('text, said', [
    ('', 'no list'), ('questions: []', 'no list'), ('questions: [', 'not YAML'),
    ('questions: [{id: a, prompt: x, stamps: [.inf]}]', '`stamps`'),
    ('questions: [{id: a, prompt: x, stamps: [.nan]}]', '`stamps`'),
    ('questions: [7]', 'mapping'), ('question: []', 'no list'),
    ('questions: [{id: a, prompt: x}]\nother: 1', "'other' is unknown"),
    ('questions:\n- {id: a, prompt: x}\n- {id: a, prompt: y}', 'line 3')])
def test_a_file_of_another_shape_is_refused(tmp_path, text, said):
    path = tmp_path / 'questions.yaml'
    path.write_text(text)
    with pytest.raises(NanoVlmError, match=said):
        load_questions(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NanoVlmError, match='missing.yaml cannot be read'):
        load_questions(tmp_path / 'missing.yaml')
