# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Text comes out whole, complete and without its stop strings, at a steady cost."""
import random

import pytest
from fakes import EOS, FakeTokenizer

from nanovlm_ros.engine.loader import demo_model
from nanovlm_ros.engine.text_stream import TextStream
from nanovlm_ros.models.tokenizer import Tokenizer

FAKE = FakeTokenizer()
TEXTS = ['', 'a', 'No, the door is closed.', 'zwölf Türen', 'Привет, 世界!', '🤖👩‍🚀 e\u0301', '  two',
         'line\nline', '\u200b', 'ﷺ', '{"a": [1, 2]}', ' one space', '\ufffd is a character too']


@pytest.fixture(scope='module')
def demo():
    return Tokenizer(demo_model() / 'llm')


def stream(tokenizer, ids, stop=()):
    """Return (deltas, the stream) of a whole reply; pushing ends at a stop string."""
    made, deltas = TextStream(tokenizer, stop), []
    for token in ids:
        deltas.append(made.push(token))
        if made.stopped:
            break
    deltas.append(made.finish())
    assert ''.join(deltas) == made.text
    return deltas, made


def without_space(text):
    """Templates end before a space, so the one that a reply begins with is not shown."""
    return text[1:] if text.startswith(' ') else text


@pytest.mark.parametrize('text', TEXTS)
def test_a_text_comes_out_as_it_went_in(demo, text):
    for tokenizer in (FAKE, demo):
        # The demo's tokenizer puts a space in front of what it encodes, and takes it off again.
        _, made = stream(tokenizer, tokenizer.encode(text))
        assert made.text == without_space(text)


def test_deltas_of_random_tokens_join_to_what_decoding_all_gives(demo):
    words = list(range(259, demo.vocab_size))  # after the control tokens and the bytes
    for seed in range(200):
        ids = random.Random(seed).choices(words, k=60)
        _, made = stream(demo, ids)
        assert made.text == without_space(demo.decode(ids))


def test_deltas_of_random_code_points_join_to_the_text_and_never_split_one(demo):
    ranges = [(0x20, 0x7F), (0xA0, 0x600), (0x3000, 0xD800), (0x1F300, 0x1FAFF)]
    for seed in range(100):
        choose = random.Random(seed)
        text = ''.join(chr(choose.randrange(*choose.choice(ranges))) for _ in range(30))
        for tokenizer in (FAKE, demo):
            deltas, made = stream(tokenizer, tokenizer.encode(text))
            assert made.text == without_space(text)
            assert not any('\ufffd' in delta for delta in deltas)


def test_a_code_point_comes_out_with_its_last_byte():
    assert stream(FAKE, '€'.encode())[0] == ['', '', '€', '']
    assert stream(FAKE, '🤖'.encode())[0] == ['', '', '', '🤖', '']


def test_bytes_that_are_no_text_show_as_a_replacement_at_last():
    deltas, made = stream(FAKE, b'a\xf0\x9f')
    assert deltas[:3] == ['a', '', ''] and set(made.text[1:]) == {'\ufffd'}
    deltas, made = stream(FAKE, b'\xff' * 20)
    assert set(made.text) == {'\ufffd'} and any(deltas[:8]), 'it waits for four tokens, no longer'


def collapsed(text):
    """How many replacement characters a run of bad bytes becomes is the decoder's affair."""
    while '\ufffd\ufffd' in text:
        text = text.replace('\ufffd\ufffd', '\ufffd')
    return text


def test_code_points_survive_among_bytes_that_are_no_text():
    choices = [*range(0x80, 0xC0), *range(0xC0, 0xF8), *[ord('A')] * 40]
    survivors = 0
    for seed in range(500):
        data = bytes(random.Random(seed).choices(choices, k=40))
        want = collapsed(data.decode(errors='replace'))
        assert collapsed(stream(FAKE, data)[1].text) == want
        survivors += any(character > '\x7f' != '\ufffd' for character in want)
    assert survivors > 100


def test_words_survive_among_bytes_that_are_no_text(demo):
    word, bad, euro = demo.encode('door'), [3 + 0xFF], [3 + byte for byte in '€'.encode()]
    _, made = stream(demo, [*word, *bad, *word, *bad * 5, *euro, *word, *euro, *bad, *word])
    assert collapsed(made.text) == 'door\ufffd door\ufffd€ door€\ufffd door'


def test_end_tokens_are_not_text(demo):
    stop, = demo.stop_ids
    assert stream(demo, [*demo.encode('yes'), stop])[1].text == 'yes'
    assert stream(FAKE, [*b'yes', EOS])[1].text == 'yes'


@pytest.mark.parametrize('text, stop, want', [
    ('one STOP two', ('STOP',), 'one '), ('STOP', ('STOP',), ''),
    ('a STO STOP', ('STOP',), 'a STO '), ('SSTOP', ('STOP',), 'S'),
    ('ababac', ('abac',), 'ab'), ('x\n\ny', ('\n\n',), 'x'),
    ('one two three', ('three', 'two'), 'one '), ('grün€', ('€',), 'grün'),
    ('abcd', ('cd', 'bcde'), 'ab')])
def test_a_stop_string_is_never_shown_however_the_tokens_fall(demo, text, stop, want):
    for tokenizer in (FAKE, demo):
        deltas, made = stream(tokenizer, tokenizer.encode(text + ' and more'), stop)
        assert made.stopped and made.text == want
        shown = ''
        for delta in deltas:
            shown += delta
            assert want.startswith(shown), 'what was shown is never taken back'
        assert made.finish() == ''


@pytest.mark.parametrize('text', ['one STO', 'S', 'STOSTO', 'never'])
def test_half_a_stop_string_at_the_end_is_text(demo, text):
    for tokenizer in (FAKE, demo):
        _, made = stream(tokenizer, tokenizer.encode(text), ('STOP',))
        assert not made.stopped and made.text == text


def test_random_texts_end_before_the_first_of_random_stop_strings():
    stopped = 0
    for seed in range(500):
        choose = random.Random(seed)
        text = 'x' + ''.join(choose.choices('abé', k=30))
        stop = tuple(''.join(choose.choices('abé', k=choose.randint(1, 5))) for _ in range(2))
        # The first one that is complete ends the reply.
        end = min((text.find(s) + len(s), text.find(s)) for s in [*stop, text] if s in text)
        _, made = stream(FAKE, text.encode(), stop)
        assert made.stopped == any(s in text for s in stop)
        if made.stopped:
            stopped += 1
            assert made.text == text[:min(text[:end[0]].find(s) for s in stop
                                          if s in text[:end[0]])]
        else:
            assert made.text == text
    assert 50 < stopped < 500


class Counting:
    """A tokenizer that notes how many ids it was given to decode."""

    def __init__(self, backend):
        self.backend, self.decoded = backend, 0

    def decode(self, ids):
        self.decoded += len(ids)
        return self.backend.decode(ids)


@pytest.mark.parametrize('piece', [b'word ', '€'.encode(), b'\xff', '\u200b'.encode()])
def test_the_work_for_a_token_does_not_grow_with_the_reply(piece):
    counting = Counting(FAKE)
    growing, work = TextStream(counting, ('STOP',)), []
    for _ in range(300):
        for token in piece:
            growing.push(token)
        work.append(counting.decoded)
    early, late = work[100] - work[50], work[299] - work[249]
    assert late <= early + 5


def test_tokens_without_text_do_not_change_the_words_around_them(demo):
    start = demo.special('<s>')
    door, closed = demo.encode('door'), demo.encode('closed')
    _, made = stream(demo, [*door, start, start, *closed, start, *door])
    assert made.text == 'door closed door'
