# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Any text survives, and an answer's tokens do not depend on the prompt before it."""

import random

import pytest

from training.prompt import SYSTEM, Prompter
from training.tokenizer import BOS, EOS, build

TEXTS = ['Is the door open?', 'héllo wörld', '漢字 と かな', 'a\n\tb  c', '', '  two spaces', '🤖🚧',
         '{"sign": "EXIT 12", "boxes": 2}', 'WHAT?!', 'naïve—dash', '\x00\x7f', '1234567890']


@pytest.mark.parametrize('text', TEXTS)
def test_text_encodes_without_loss(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_random_unicode_encodes_without_loss(tokenizer):
    r = random.Random(0)
    for _ in range(300):
        text = ''.join(chr(r.choice([r.randrange(32, 127), r.randrange(160, 0xd7ff),
                                     r.randrange(0x10000, 0x10ffff)])) for _ in range(12))
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
        assert 0 not in tokenizer.encode(text).ids


@pytest.mark.parametrize('answer', ['Yes.', '3', 'EXIT 12', '{"door": "open"}', "I don't know."])
def test_prompt_and_answer_never_merge(tokenizer, answer):
    p = Prompter(tokenizer)
    prompt = p.question('Is there a box?')
    joint = tokenizer.encode('\nIs there a box? ASSISTANT: ' + answer).ids
    assert joint == prompt + p.answer(answer)[:-1]


def test_special_tokens_and_words_of_the_world_are_single(tokenizer):
    assert [tokenizer.token_to_id(t) for t in ('<unk>', '<s>', '</s>')] == [0, BOS, EOS]
    assert tokenizer.get_vocab_size() == 1280
    for word in ('▁EXIT', '▁box', '▁left', 'door', '▁red', '▁ASSISTANT'):
        assert tokenizer.token_to_id(word) is not None, word
    assert [tokenizer.decode([i]) for i in tokenizer.encode('12').ids[1:]] == ['1', '2']


def test_a_prompt_without_image_shares_its_start_with_one_with_image(tokenizer):
    p = Prompter(tokenizer)
    head, shared = p.head(SYSTEM)
    assert head[0] == BOS
    joint = tokenizer.encode(SYSTEM + ' USER: hello ASSISTANT:').ids
    assert head[1:shared] + p.later('hello') == joint


def test_a_tokenizer_can_be_built_anew():
    texts = [' '.join(f'w{chr(97 + i)}{chr(97 + j)}' for j in range(26)) for i in range(26)] * 8
    tok = build(texts, 1040)
    assert tok.get_vocab_size() == 1040
    assert tok.decode(tok.encode('wab Ünïcode').ids) == 'wab Ünïcode'


def test_too_few_words_are_refused():
    with pytest.raises(ValueError, match='change'):
        build(['a b'], 1280)
