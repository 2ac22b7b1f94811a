# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A schema is checked at the door, and what it lets through always parses."""
import json
import threading

import jsonschema
import numpy as np
import pytest
from fakes import EOS, FakeModel, FakeTokenizer

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.loader import demo_model
from nanovlm_ros.engine.structured import MAX_DEPTH, MAX_SCHEMA, compile_schema
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.types import ErrorCode, GenerationConfig, JsonStatus, NanoVlmError, Query

TOKENIZER = FakeTokenizer()
SCHEMA = {
    'type': 'object',
    'properties': {
        'door': {'enum': ['open', 'closed', 'geschlossen ö', None]},
        'people': {'type': 'integer', 'minimum': -3, 'maximum': 12},
        'hazard': {'type': 'boolean'},
        'sign': {'type': 'string', 'maxLength': 6},
        'boxes': {'type': 'array', 'maxItems': 2, 'items': {
            'type': 'object', 'properties': {'near': {'type': 'boolean'},
                                             'count': {'type': 'integer', 'minimum': 0,
                                                       'maximum': 99}},
            'required': ['near', 'count'], 'additionalProperties': False}},
        'place': {'type': 'object', 'properties': {'where': {'const': 'left'}},
                  'required': ['where'], 'additionalProperties': False},
        'nothing': {'type': 'null'}},
    'required': ['door', 'people', 'hazard', 'sign', 'boxes', 'place', 'nothing'],
    'additionalProperties': False}


def compiled(schema):
    return compile_schema(schema if isinstance(schema, str) else json.dumps(schema), TOKENIZER)


def nested(depth):
    schema = {'type': 'string'}
    for _ in range(depth):
        schema = {'type': 'array', 'items': schema}
    return schema


BAD = [
    ('{', 'not JSON'), ('nonsense', 'not JSON'), ('[' * 100_000, 'characters'),
    ('[' * 60_000, 'not JSON'),
    ('[]', 'must be an object'), ('"string"', 'must be an object'), ('true', 'must be an object'),
    ('null', 'must be an object'), ('1', 'must be an object'),
    ({'description': 'x' * MAX_SCHEMA}, f'at most {MAX_SCHEMA}'),
    (nested(MAX_DEPTH + 1), f'deeper than {MAX_DEPTH}'),
    ({'$ref': 'https://example.com/schema.json'}, 'nothing is fetched'),
    ({'properties': {'a': {'$ref': 'file:///etc/passwd'}}}, 'nothing is fetched'),
    ({'anyOf': [{'$ref': 'other.json#/a'}]}, 'nothing is fetched'),
    ({'$dynamicRef': 'https://example.com/schema.json'}, 'cannot be used'),
    ({'$schema': 'https://example.com/meta.json', 'type': 'object'}, 'cannot be used'),
    ({'$ref': '#/nowhere'}, 'cannot be used'),
    ({'type': 'banana'}, 'cannot be used'),
    ({'type': 'object', 'properties': []}, 'cannot be used'),
    ({'type': 'string', 'maxLength': -1}, 'cannot be used'),
    ({'type': 'integer', 'minimum': 5, 'maximum': 1}, 'cannot be used'),
    ({'type': 'string', 'pattern': '('}, 'cannot be used'),
    ({'enum': []}, 'cannot be used'),
    ({'not': {'type': 'object'}}, 'cannot be used'),
]


@pytest.mark.parametrize('schema, words', BAD, ids=lambda value: str(value)[:50])
def test_a_schema_of_no_use_is_refused_with_a_sentence(schema, words):
    with pytest.raises(NanoVlmError) as caught:
        compiled(schema)
    assert caught.value.code == ErrorCode.BAD_SCHEMA
    assert caught.value.message.startswith('The JSON schema') and words in caught.value.message
    assert len(caught.value.message) < 2000


@pytest.mark.parametrize('text', ['', ' \n'])
def test_no_schema_is_free_text(text):
    assert compile_schema(text, TOKENIZER) is None


def test_references_inside_the_document_are_followed():
    schema = compiled({'$defs': {'side': {'enum': ['left', 'right']}}, 'type': 'object',
                       'properties': {'side': {'$ref': '#/$defs/side'}}, 'required': ['side'],
                       'additionalProperties': False})
    assert follows(schema, '{"side": "left"}') and not follows(schema, '{"side": "up"}')
    assert schema.judge('{"side": "left"}', True) == (JsonStatus.VALID, '')


def test_a_property_that_is_called_ref_is_a_property():
    compiled({'type': 'object', 'properties': {'$ref': {'type': 'string'}}})


def follows(schema, text):
    """Walk a text through the grammar; True if every byte was allowed and it may end there."""
    constraint = schema.constraint(TOKENIZER.vocab_size)
    for token in text.encode():
        if not constraint.allowed()[token]:
            return False
        constraint.accept(token)
    return constraint.accepting


@pytest.mark.parametrize('text, good', [
    ('{}', True), ('{"a": 1}', True), (' {"a": {"b": [1, null, "x"]}}', True), ('[]', False),
    ('1', False), ('"a"', False), ('{"a": 1', False), ('{"a" 1}', False), ('{}{}', False)])
def test_an_empty_schema_stands_for_any_object(text, good):
    schema = compiled({})
    assert follows(schema, text) == good
    assert (schema.judge(text, True)[0] == JsonStatus.VALID) == good


def test_the_instruction_names_the_keys():
    assert compiled(SCHEMA).instruction() == (
        'Answer in JSON with the keys: door, people, hazard, sign, boxes, place, nothing.')
    assert compiled({}).instruction() == 'Answer in JSON.'
    assert compiled({'enum': [1, 2]}).instruction() == 'Answer in JSON.'


def test_tokens_that_the_grammar_does_not_know_are_never_allowed():
    constraint = compiled({}).constraint(1000)
    allowed = constraint.allowed()
    assert allowed.shape == (1000,) and allowed.any()
    assert not allowed[TOKENIZER.vocab_size:].any()


def test_a_vocabulary_shorter_than_the_grammars_is_no_problem():
    allowed = compiled({}).constraint(200).allowed()
    assert allowed.shape == (200,) and allowed[ord('{')]


def test_the_end_may_be_said_only_when_the_document_is_closed():
    constraint = compiled({'enum': ['a']}).constraint(TOKENIZER.vocab_size)
    for token in b'"a"':
        assert not constraint.allowed()[EOS] and not constraint.complete
        constraint.accept(token)
    assert constraint.accepting


def test_a_token_that_was_not_allowed_is_refused():
    constraint = compiled({}).constraint(TOKENIZER.vocab_size)
    with pytest.raises(NanoVlmError) as caught:
        constraint.accept(ord('x'))
    assert caught.value.code == ErrorCode.MODEL_ERROR


@pytest.mark.parametrize('text, complete, status, words', [
    ('{"door": ', False, JsonStatus.TRUNCATED, 'max_new_tokens'),
    ('{"door": ', True, JsonStatus.INVALID, 'not JSON'),
    ('{}', True, JsonStatus.INVALID, "'door'"), ('', True, JsonStatus.INVALID, 'not JSON')])
def test_a_reply_that_is_no_document_is_judged_with_a_sentence(text, complete, status, words):
    got, sentence = compiled(SCHEMA).judge(text, complete)
    assert got == status and words in sentence


def test_a_sentence_stays_short_however_long_the_schema_and_the_reply():
    schema = compiled({'enum': ['x' * 60_000]})
    status, sentence = schema.judge(json.dumps('y' * 60_000), True)
    assert status == JsonStatus.INVALID and len(sentence) < 500


class Many:
    """Runs queries through an executor whose model has its own mind: random logits."""

    def __init__(self, logits, tokenizer=TOKENIZER):
        model = FakeModel(logits=logits)
        model.tokenizer, model.vocab_size = tokenizer, tokenizer.vocab_size
        model.stop_ids = getattr(tokenizer, 'stop_ids', model.stop_ids)
        self.executor = MlcExecutor(lambda: model, queue_size=2000, max_sequences=8)

    def run(self, schema, count, **config):
        answers, done = [], threading.Semaphore(0)

        def on_answer(answer):
            answers.append(answer)
            done.release()

        self.executor.start()
        try:
            for number in range(count):
                self.executor.submit(
                    Query(str(number), 'what?', json_schema=json.dumps(schema),
                          config=GenerationConfig(temperature=1.0, seed=number, **config)),
                    lambda chunk: None, on_answer)
            for _ in range(count):
                assert done.acquire(timeout=100)
        finally:
            self.executor.shutdown()
        return answers


def random_logits(seed, vocab_size=TOKENIZER.vocab_size):
    random = np.random.default_rng(seed)
    return lambda position: random.normal(0, 2.0, vocab_size).astype(np.float32)


def test_1000_random_generations_parse_and_validate():
    answers = Many(random_logits(1)).run(SCHEMA, 1000, max_new_tokens=2000)
    assert len(answers) == 1000
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for answer in answers:
        assert (answer.error_code, answer.finish_reason) == (ErrorCode.NONE, 'stop'), answer
        assert answer.json_status == JsonStatus.VALID
        validator.validate(json.loads(answer.json))
        assert answer.json == answer.text
    documents = [json.loads(answer.json) for answer in answers]
    assert {d['door'] for d in documents} == {'open', 'closed', 'geschlossen ö', None}
    assert {d['people'] for d in documents} >= {-3, 0, 9, 12}
    assert {len(d['boxes']) for d in documents} == {0, 1, 2}
    assert max(len(d['sign']) for d in documents) == 6
    assert len({answer.json for answer in answers}) > 900


def test_100_random_generations_in_the_tokens_of_the_demo_model_parse_and_validate():
    tokenizer = Tokenizer(demo_model() / 'llm')
    answers = Many(random_logits(4, tokenizer.vocab_size), tokenizer).run(
        SCHEMA, 100, max_new_tokens=2000)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for answer in answers:
        assert (answer.json_status, answer.error_code) == (JsonStatus.VALID, ErrorCode.NONE)
        validator.validate(json.loads(answer.json))
    assert len({answer.json for answer in answers}) > 90


def test_100_random_objects_of_no_schema_parse_or_say_that_they_were_cut():
    answers = Many(random_logits(2)).run({}, 100, max_new_tokens=60)
    assert {a.json_status for a in answers} <= {JsonStatus.VALID, JsonStatus.TRUNCATED}
    for answer in answers:
        if answer.json_status == JsonStatus.VALID:
            assert isinstance(json.loads(answer.json), dict)


def test_a_document_that_is_cut_says_so_and_hands_over_no_json():
    answers = Many(random_logits(3)).run(SCHEMA, 20, max_new_tokens=10)
    for answer in answers:
        assert (answer.json_status, answer.finish_reason) == (JsonStatus.TRUNCATED, 'length')
        assert answer.json == '' and 'max_new_tokens' in answer.error_message
        assert answer.text and answer.error_code == ErrorCode.NONE
