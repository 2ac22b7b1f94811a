# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written on signs."""

from __future__ import annotations

import zlib

import numpy as np

from training.world import palette as P


def pick(r: np.random.Generator, options):
    """One element, evenly."""
    return options[int(r.integers(len(options)))]


def heldout_text(text: str) -> bool:
    """True for the tenth of all sign texts with numbers that training never draws."""
    return any(c.isdigit() for c in text) and zlib.crc32(text.encode()) % 10 == 0


def sign_lines(r: np.random.Generator) -> tuple[str, ...]:
    """The lines of a random sign."""
    kind = r.random()
    if kind < .22:
        return (pick(r, P.SIGN_WORDS),)
    if kind < .60:
        n = int(r.integers(0, 100)) if r.random() < .8 else int(r.integers(100, 1000))
        number = str(n) if r.random() < .85 else pick(r, 'ABCDEF') + str(n % 100)
        word = pick(r, P.NUMBERED_WORDS)
        return (word, number) if r.random() < .5 else (f'{word} {number}',)
    if kind < .80:
        words = pick(r, P.SIGN_PHRASES).split()
        if len(words) > 2:
            return tuple(words) if r.random() < .5 else (' '.join(words[:-1]), words[-1])
        return tuple(words) if r.random() < .6 else (' '.join(words),)
    n, part = int(r.integers(0, 10)), pick(r, P.FRACTIONS)
    if n == 0:
        part = part or '1/2'
        number = part
    else:
        number = f'{n} {part}'.strip()
    unit = 'KM' if r.random() < .3 else 'MILE' if n == 0 or (n == 1 and not part) else 'MILES'
    place = pick(r, P.PLACES)
    return (place, f'{number} {unit}') if r.random() < .8 else (place, number, unit)
