# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Builds the tokenizer: Llama style, byte fallback, one token for each word of the world.

Any text encodes without loss. Digits and punctuation are tokens of their own, so the text of a
prompt and the text of its answer never merge over their boundary.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPACE = '\u2581'
SPECIAL = ('<unk>', '<s>', '</s>')
BOS, EOS = 1, 2
# A word takes the space before it along; every other character stands alone.
WORD = SPACE + '?[A-Za-z]+|[^A-Za-z]'


def _shell(model: models.BPE) -> Tokenizer:
    tok = Tokenizer(model)
    tok.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(' ', SPACE)])
    tok.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), 'isolated')
    tok.decoder = decoders.Sequence([decoders.Replace(SPACE, ' '), decoders.ByteFallback(),
                                     decoders.Fuse(), decoders.Strip(' ', 1, 0)])
    return tok


def build(texts: Iterable[str], vocab_size: int, least: int = 6) -> Tokenizer:
    """A tokenizer of exactly vocab_size tokens: specials, bytes, ASCII, words seen at least
    `least` times, and as many pieces of words as there is room for."""
    counts: Counter[str] = Counter()
    probe = _shell(models.BPE())
    for text in texts:
        norm = probe.normalizer.normalize_str(text)
        counts.update(w for w, _ in probe.pre_tokenizer.pre_tokenize_str(norm))
    alphabet = [SPACE, *(chr(c) for c in range(33, 127))]
    vocab = {t: i for i, t in enumerate((*SPECIAL, *(f'<0x{b:02X}>' for b in range(256)),
                                         *alphabet))}
    words = [w for w, n in counts.most_common() if n >= least and len(w) > 1 and w not in vocab
             and (w.isascii() or w[0] == SPACE)]
    trained = Tokenizer(models.BPE())
    trained.train_from_iterator(
        (w for w in sorted(counts) if len(w) > 2),
        trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet,
                            limit_alphabet=len(alphabet), show_progress=False))
    merges = [tuple(m) for m in json.loads(trained.to_str())['model']['merges']]
    whole = set(words)
    room = vocab_size - len(vocab) - len(words)
    kept = []
    for a, b in merges:
        # Merges are learnt in order, so that the parts of each kept one are kept too.
        if a + b not in whole and room <= 0:
            break
        room -= a + b not in whole
        kept.append((a, b))
    for token in [*words, *(a + b for a, b in kept)]:
        vocab.setdefault(token, len(vocab))
    merges = kept
    if len(vocab) != vocab_size:
        raise ValueError(f'The words take {len(vocab)} tokens of {vocab_size}; change `least`.')
    tok = _shell(models.BPE(vocab=vocab, merges=merges, unk_token='<unk>', byte_fallback=True,
                            fuse_unk=True, ignore_merges=True))
    tok.add_special_tokens(list(SPECIAL))
    return tok


def save(tok: Tokenizer, folder: Path, context: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json into folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tok.save(str(folder / 'tokenizer.json'))
    config = {
        'add_bos_token': True, 'add_eos_token': False, 'bos_token': '<s>', 'eos_token': '</s>',
        'unk_token': '<unk>', 'clean_up_tokenization_spaces': False, 'legacy': False,
        'model_max_length': context, 'padding_side': 'right',
        'tokenizer_class': 'PreTrainedTokenizerFast',
    }
    (folder / 'tokenizer_config.json').write_text(json.dumps(config, indent=2) + '\n')
