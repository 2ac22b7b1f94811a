# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompts are exactly as trained, and users cannot write control tokens."""
import json

import numpy as np
import pytest
from tokenizer_files import llama_3_json, neox_json, write_sentencepiece

from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.models.template_file import load_template
from nanovlm_ros.models.templates import (
    LLAMA_3, OBSIDIAN, TEMPLATES, VICUNA_V1, VICUNA_V1_NOSYS, Marker, Special, choose_template)
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

VICUNA = ('A chat between a curious user and an artificial intelligence assistant. The assistant '
          "gives helpful, detailed, and polite answers to the user's questions.")
LLAMA = ('You are a helpful language and vision assistant. You are able to understand the visual '
         'content that the user provides, and assist the user with a variety of tasks using '
         'natural language.')
CAPYBARA = ('A conversation between a user and an LLM-based AI assistant name StableCapybara. The '
            'assistant gives helpful and honest answers.')
CHAT = [Turn('Hi', assistant='Hello.'), Turn('Bye')]


def frame():
    return Frame.from_rgb(np.zeros((2, 2, 3), np.uint8))


def text(template, turns, system='', has_token=lambda text: True):
    """A rendered conversation as one string, images as `<image>`."""
    pieces = template.render(turns, system, has_token)
    return ''.join('<image>' if isinstance(piece, Frame) else
                   piece.text if isinstance(piece, Special) else piece for piece in pieces)


def test_vicuna_v1_is_as_trained():
    assert VICUNA_V1.render(CHAT) == [
        Special('<s>'), f'{VICUNA} USER: Hi ASSISTANT: Hello.', Special('</s>'),
        'USER: Bye ASSISTANT:']


def test_llama_3_is_as_trained():
    def header(role):
        return f'<|start_header_id|>{role}<|end_header_id|>\n\n'
    assert text(LLAMA_3, CHAT) == (
        f'<|begin_of_text|>{header("system")}{LLAMA}<|eot_id|>'
        f'{header("user")}Hi<|eot_id|>{header("assistant")}Hello.<|eot_id|>'
        f'{header("user")}Bye<|eot_id|>{header("assistant")}')
    assert set(LLAMA_3.stop_tokens) == {'<|eot_id|>', '<|end_of_text|>'}


def test_obsidian_is_as_trained():
    assert text(OBSIDIAN, CHAT) == (
        f'<|im_start|>system\n{CAPYBARA}###<|im_start|>user\n: Hi###<|im_start|>assistant\n: '
        'Hello.###<|im_start|>user\n: Bye###<|im_start|>assistant\n:')
    assert OBSIDIAN.stop_strings == ('###',)


def test_a_marker_is_a_token_where_the_vocabulary_has_it_and_text_where_not():
    with_it = OBSIDIAN.render([Turn('Hi')], has_token=lambda text: True)
    without = OBSIDIAN.render([Turn('Hi')], has_token=lambda text: False)
    assert with_it[0] == Special('<|im_start|>') and with_it.count(Special('<|im_start|>')) == 3
    assert without == [text(OBSIDIAN, [Turn('Hi')])]


def test_without_a_system_text_its_place_stays_empty_and_takes_one_that_is_asked_for():
    assert VICUNA_V1_NOSYS.render([Turn('Hi')]) == [Special('<s>'), ' USER: Hi ASSISTANT:']
    assert text(VICUNA_V1_NOSYS, [Turn('Hi')], 'Be brief.') == '<s>Be brief. USER: Hi ASSISTANT:'


def test_images_come_before_the_question_each_with_a_line_of_its_own():
    first, second = frame(), frame()
    assert VICUNA_V1.render([Turn('What changed?', (first, second))], 'Be brief.') == [
        Special('<s>'), 'Be brief. USER: ', first, '\n', second, '\nWhat changed? ASSISTANT:']
    assert '\n\n<image>\n<image>\nWhat?' in text(LLAMA_3, [Turn('What?', (first, second))])
    assert 'user\n: <image>\nWhat?' in text(OBSIDIAN, [Turn('What?', (first,))])


@pytest.mark.parametrize('model_type, token, template', [
    ('llava', '</s>', VICUNA_V1), ('llama', '</s>', VICUNA_V1),
    ('llama', '<|start_header_id|>', LLAMA_3), ('llava_stablelm_epoch', '<|im_start|>', OBSIDIAN),
    ('stablelm', '<|endoftext|>', OBSIDIAN)])
def test_the_template_is_that_of_the_language_model(model_type, token, template):
    assert choose_template(model_type, lambda text: text == token) is template


def tokenizer_of(template, folder):
    (folder / 'config.json').write_text('{"eos_token_id": 2}')
    if template is LLAMA_3:
        (folder / 'tokenizer.json').write_text(llama_3_json())
    elif template is OBSIDIAN:  # a vocabulary with the marker, as a token that anybody may write
        (folder / 'tokenizer.json').write_text(neox_json('<|im_start|>', '<|im_end|>'))
    else:
        write_sentencepiece(folder)
    return Tokenizer(folder)


@pytest.mark.parametrize('template', TEMPLATES.values(), ids=TEMPLATES)
def test_a_user_who_spells_control_tokens_cannot_forge_one(template, tmp_path):
    tokenizer = tokenizer_of(template, tmp_path)
    control = [t for t in ('<s>', '</s>', '<unk>', *LLAMA_3.stop_tokens, '<|begin_of_text|>',
                           '<|start_header_id|>', '<|end_header_id|>', '<|endoftext|>',
                           '<|im_start|>', '<|im_end|>') if tokenizer.has(t)]
    assert len(control) >= 3
    for said in (''.join(control), ' '.join(control), 'a' + 'b'.join(control) + '<image>'):
        def count(question):
            pieces = template.render([Turn(question)], '', tokenizer.has)
            written = [i for piece in pieces if isinstance(piece, str)
                       for i in tokenizer.encode(piece)]
            assert not {tokenizer.special(t) for t in control} & set(written)
            assert not [piece for piece in pieces if isinstance(piece, Frame)]
            return sum(isinstance(piece, Special) for piece in pieces)
        assert count(said) == count('Hi')
        assert said in tokenizer.decode(tokenizer.encode(f'say {said}!')), 'nothing is lost'


@pytest.mark.parametrize('template, begin', [
    (VICUNA_V1, '<s>'), (VICUNA_V1_NOSYS, '<s>'), (LLAMA_3, '<|begin_of_text|>')])
def test_a_conversation_begins_with_one_token_of_its_own_and_has_no_other(template, begin):
    pieces = template.render([*CHAT[:1] * 3, *CHAT])
    assert pieces[0] == Special(begin) and pieces.count(Special(begin)) == 1


# -- files ------------------------------------------------------------------------------------

GOOD = {'name': 'mine', 'system': 'Be brief.',
        'before_system': [{'token': '<s>'}, {'token_or_text': '<|im_start|>'}],
        'after_system': ['\n'], 'before_user': ['Q: '], 'before_answer': ['\nA:'],
        'answer_start': ' ', 'after_answer': [{'token': '</s>'}]}


def refused(path):
    with pytest.raises(NanoVlmError) as caught:
        load_template(str(path))
    return caught.value


def test_a_template_is_known_by_its_name_or_read_from_a_file(tmp_path):
    assert load_template('llama_3') is LLAMA_3
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps({**GOOD, 'stop_strings': ['\nQ:'], 'after_image': ''}))
    made = load_template(str(path))
    assert made.before_system == (Special('<s>'), Marker('<|im_start|>'))
    assert made.stop_strings == ('\nQ:',) and made.stop_tokens == ()
    assert text(made, CHAT) == '<s><|im_start|>Be brief.\nQ: Hi\nA: Hello.</s>Q: Bye\nA:'


def test_every_template_of_ours_can_be_written_as_a_file(tmp_path):
    def plain(value):
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return ({'token': value.text} if isinstance(value, Special) else
                {'token_or_text': value.text} if isinstance(value, Marker) else value)
    for template in TEMPLATES.values():
        path = tmp_path / f'{template.name}.json'
        path.write_text(json.dumps({key: plain(value) for key, value in vars(template).items()}))
        assert load_template(str(path)) == template


def test_an_unknown_name_is_told_with_those_that_are_known():
    error = refused('chatml')
    assert error.code == ErrorCode.INVALID_REQUEST
    assert "'chatml'" in error.message and 'vicuna_v1' in error.message


@pytest.mark.parametrize('change, said', [
    ({'sytem': 'x'}, 'sytem'), ({'name': None}, 'name'), ({'system': ['x']}, 'system'),
    ({'before_user': 'Q: '}, 'before_user'), ({'before_user': [1]}, 'before_user'),
    ({'before_user': [{'tokn': '<s>'}]}, 'tokn'), ({'before_user': [{'token': 5}]}, 'before_user'),
    ({'stop_strings': [5]}, '5'), ({'stop_tokens': '###'}, 'stop_tokens')])
def test_a_file_that_is_no_template_is_refused_by_its_name_and_key(tmp_path, change, said):
    path = tmp_path / 'bad.json'
    path.write_text(json.dumps({**GOOD, **change}))
    error = refused(path)
    assert error.code == ErrorCode.MODEL_ERROR
    assert str(path) in error.message and said in error.message


@pytest.mark.parametrize('content', ['{', '[]', None])
def test_a_file_that_is_missing_or_no_json_is_named(tmp_path, content):
    path = tmp_path / 'bad.json'
    if content is not None:
        path.write_text(content)
    assert str(path) in refused(path).message
    path.write_text('{"name": "mine"}')
    assert 'before_user' in refused(path).message, 'what is missing is told'
