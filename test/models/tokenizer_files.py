# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers as the families publish theirs, trained on the standard library's text."""
import argparse
import contextlib
import io
import json
from functools import lru_cache
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB = 512
LLAMA_3 = ('<|begin_of_text|>', '<|end_of_text|>', '<|start_header_id|>', '<|end_header_id|>',
           '<|eot_id|>')
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
         r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+')


def lines():
    """Text to train on."""
    return [line for line in Path(argparse.__file__).read_text().splitlines() if line.strip()]


@lru_cache
def sentencepiece_model(**changes) -> bytes:
    """Return a `tokenizer.model` made as Llama's: byte pairs, byte fallback, text as it is."""
    stream = io.BytesIO()
    with contextlib.redirect_stderr(io.StringIO()):
        sentencepiece.SentencePieceTrainer.train(**{**dict(
            sentence_iterator=iter(lines()), model_writer=stream, vocab_size=VOCAB,
            model_type='bpe', byte_fallback=True, normalization_rule_name='identity',
            remove_extra_whitespaces=False, split_digits=True, character_coverage=0.9995,
            allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2), **changes})
    return stream.getvalue()


@lru_cache
def llama_3_json() -> str:
    """Return a `tokenizer.json` of bytes, with the control tokens of Llama 3 at its end."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), 'isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    _train(made, VOCAB - len(LLAMA_3), [])
    made.add_special_tokens(list(LLAMA_3))
    return made.to_str()


@lru_cache
def neox_json(*more: str) -> str:
    """Return a `tokenizer.json` of GPT-NeoX, whose runs of spaces are tokens.

    `more` are tokens that were added, but not as special ones.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    _train(made, VOCAB - 8, ['<|endoftext|>', '<|padding|>'])
    made.add_tokens([AddedToken(' ' * count, normalized=True) for count in (8, 4, 3, 2)])
    made.add_tokens([AddedToken(token) for token in more])
    return made.to_str()


def _train(made: Tokenizer, size: int, special) -> None:
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def write_sentencepiece(folder: Path, **config) -> None:
    """Write what LLaVA and VILA publish of their tokenizer."""
    (folder / 'tokenizer.model').write_bytes(sentencepiece_model())
    (folder / 'special_tokens_map.json').write_text(json.dumps({
        'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>'}))
    (folder / 'tokenizer_config.json').write_text(json.dumps({
        'add_bos_token': True, 'add_eos_token': False, 'tokenizer_class': 'LlamaTokenizer',
        **config}))
