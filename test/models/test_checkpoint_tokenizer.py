# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A tokenizer gives the ids that its model was trained with, and user text stays text."""
import json
import random
import sys

import pytest
import sentencepiece
from llguidance import LLMatcher
from tokenizer_files import (
    llama_3_json, neox_json, sentencepiece_model, write_sentencepiece)

from nanovlm_ros.engine.loader import demo_model
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.types import ErrorCode, NanoVlmError

NASTY = ['', ' ', '  ', '  two', 'two  ', '\n', '\n\n  a', '\t', 'a\r\nb', '\u2581', 'a\u2581b',
         'na\u00efve \u732b \U0001f916', '\U0001f468\u200d\U0001f469', '\x00\x01', '\ufffd',
         '<0x0A>', '<unk>', '</s>', '<s> a </s>', '1234567890', '    ' * 20, 'e\u0301',
         '\u00a0 x', 'x' * 300]
ALPHABET = [*' \n\tabcxyzABC0129.,;:<>/_-|#"\'\u00e9\u732b\U0001f916\u2581\u00a0', '</s>', '<s>',
            'USER:', ' the ', 'argument', '  ']


def random_texts(count):
    draw = random.Random(0)
    return [''.join(draw.choices(ALPHABET, k=draw.randrange(1, 60))) for _ in range(count)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'config.json').write_text('{"eos_token_id": 2}')
    return tmp_path


@pytest.fixture
def llama(folder):
    write_sentencepiece(folder, legacy=False)
    return Tokenizer(folder)


def refused(folder):
    with pytest.raises(NanoVlmError) as caught:
        Tokenizer(folder)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


def own():
    return sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())


def test_a_sentencepiece_model_gives_the_ids_of_sentencepiece(llama):
    model = own()
    for text in [*NASTY, *random_texts(1000)]:
        assert llama.encode(text) == model.encode(text), text
    assert llama.vocab_size == len(model) and llama.stop_ids == {2}


def test_no_text_is_lost(llama):
    for text in [*NASTY, *random_texts(200)]:
        # sentencepiece has no other sign for a space.
        assert llama.decode(llama.encode(text)) == text.replace('\u2581', ' ')


@pytest.mark.parametrize('config, with_space', [
    ({'legacy': False}, False), ({'legacy': True}, True), ({}, True)])
def test_behind_a_control_token_a_text_has_a_space_in_front_only_if_trained_so(
        folder, config, with_space):
    write_sentencepiece(folder, **config)
    ids = Tokenizer(folder).encode('USER: Hi', after_token=True)
    model = own()
    assert ids == (model.encode('USER: Hi') if with_space else model.encode('\nUSER: Hi')[2:])
    assert Tokenizer(folder).encode('USER: Hi') == model.encode('USER: Hi')


@pytest.mark.parametrize('written', [llama_3_json, neox_json])
def test_a_tokenizer_json_is_taken_as_it_is(folder, written):
    (folder / 'tokenizer.json').write_text(written())
    tokenizer = Tokenizer(folder)
    assert tokenizer.encode('a  b') == tokenizer.encode('a  b', after_token=True)
    for text in [*NASTY, *random_texts(200)]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_runs_of_spaces_stay_tokens_but_markers_become_special(folder):
    (folder / 'tokenizer.json').write_text(neox_json('<|im_start|>'))
    tokenizer = Tokenizer(folder)
    assert tokenizer.encode('a    b')[1] == tokenizer.special('    ')
    marker = tokenizer.special('<|im_start|>')
    assert marker not in tokenizer.encode('<|im_start|>')
    assert tokenizer.decode([marker, *tokenizer.encode('hi')]) == 'hi'


@pytest.mark.parametrize('write', [
    write_sentencepiece, lambda folder: (folder / 'tokenizer.json').write_text(llama_3_json()),
    lambda folder: (folder / 'tokenizer.json').write_text(neox_json())])
def test_a_grammar_knows_the_vocabulary(folder, write):
    write(folder)
    tokenizer = Tokenizer(folder)
    matcher = LLMatcher(tokenizer.llg(), LLMatcher.grammar_from_json_schema(
        json.dumps({'type': 'object', 'properties': {'n': {'type': 'integer'}},
                    'required': ['n'], 'additionalProperties': False})))
    text = '{"n": 12}'
    ids = tokenizer.encode(text, after_token=True)
    ids = ids[1:] if tokenizer.decode(ids[:1]).strip() == '' else ids
    assert matcher.consume_tokens(ids) and matcher.is_accepting(), tokenizer.decode(ids)


@pytest.mark.parametrize('damage', [b'', b'garbage', 'half'])
def test_a_damaged_sentencepiece_model_is_named(folder, damage):
    write_sentencepiece(folder)
    path = folder / 'tokenizer.model'
    path.write_bytes(path.read_bytes()[:4000] if damage == 'half' else damage)
    message = refused(folder)
    assert str(path) in message and 'get it again' in message


@pytest.mark.parametrize('changes', [
    {'model_type': 'unigram'}, {'remove_extra_whitespaces': True},
    {'add_dummy_prefix': False}, {'normalization_rule_name': 'nmt_nfkc_cf'}])
def test_a_sentencepiece_model_of_another_kind_is_refused(folder, changes):
    (folder / 'tokenizer.model').write_bytes(sentencepiece_model(**changes))
    message = refused(folder)
    assert str(folder / 'tokenizer.model') in message and 'another kind' in message


def test_without_the_package_sentencepiece_it_is_named(folder, monkeypatch):
    write_sentencepiece(folder)
    monkeypatch.setitem(sys.modules, 'sentencepiece', None)
    assert 'pip install sentencepiece' in refused(folder)


def test_a_missing_or_broken_tokenizer_is_named(folder):
    message = refused(folder)
    assert str(folder) in message and 'tokenizer.json' in message and 'tokenizer.model' in message
    (folder / 'tokenizer.json').write_text('{}')
    assert str(folder / 'tokenizer.json') in refused(folder)


@pytest.mark.parametrize('name', ['config.json', 'generation_config.json'])
def test_a_broken_configuration_beside_it_is_named(folder, name):
    write_sentencepiece(folder)
    (folder / name).write_text('{')
    assert str(folder / name) in refused(folder)


def test_an_answer_without_an_end_is_refused_and_several_ends_are_known(folder):
    write_sentencepiece(folder)
    (folder / 'generation_config.json').write_text('{"eos_token_id": [2, 7]}')
    assert Tokenizer(folder).stop_ids == {2, 7}
    (folder / 'generation_config.json').unlink()
    (folder / 'config.json').write_text('{}')
    assert 'eos_token_id' in refused(folder)


def test_control_tokens_in_user_text_stay_text():
    tokenizer = Tokenizer(demo_model() / 'llm')
    ids = tokenizer.encode('end it </s> now <s>')
    assert not {tokenizer.special('<s>'), tokenizer.special('</s>')} & set(ids)
    assert tokenizer.decode(ids).strip() == 'end it </s> now <s>'


@pytest.mark.parametrize('text', [
    'Is the door open?', 'na\u00efve \u732b \U0001f916', 'a\tb\nc', '  two  '])
def test_any_text_survives_the_tokenizer_of_the_demo_model(text):
    tokenizer = Tokenizer(demo_model() / 'llm')
    assert tokenizer.decode(tokenizer.encode(text)).removeprefix(' ') == text.removeprefix(' ')
