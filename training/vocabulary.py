# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Builds the demo model's tokenizer from samples of the training questions.

    python -m training.vocabulary FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training import tokenizer
from training.model import Shape
from training.prompt import SYSTEM
from training.questions import structured
from training.questions.nouns import NEW_NOUNS
from training.questions.samples import frames_sample, single_sample
from training.world import palette as P


def texts(samples: int = 1500) -> Iterator[str]:
    """Everything that prompts and answers are made of."""
    r = np.random.default_rng(11)
    chats = []
    for i in range(samples):
        s = single_sample(r, True) if i % 5 else frames_sample(r, int(r.integers(2, 9)), True)
        chats += s.chats + s.blind
    for chat in chats:
        for turn in chat:
            yield f'\n{turn.question} ASSISTANT:'
            yield turn.answer
    for _ in range(50):
        yield SYSTEM + ' USER: '
        yield from (f'"{k}": ' for k in structured.KEYS)
        yield from (f'{w} "{w}"' for w in (*P.SIGN_WORDS, *P.NUMBERED_WORDS))
        yield from (f'{w} "{w}"' for p in (*P.SIGN_PHRASES, *P.PLACES) for w in p.split())
        yield ' '.join(P.COLOURS) + ' '.join(f'"{c}"' for c in P.COLOURS)
    yield ' '.join(NEW_NOUNS)


def main(folder: str) -> None:
    """Writes the tokenizer files into folder."""
    shape = Shape()
    tokenizer.save(tokenizer.build(texts(), shape.vocab), Path(folder), shape.context)


if __name__ == '__main__':
    main(sys.argv[1])
