# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for things that this world does not have; some are kept for the test."""

from __future__ import annotations

import numpy as np

from training.questions.asking import phrases

# No box, ball, cone, person, door, sign, puddle, cable, window, picture or shelf, and no synonym.
NOUNS = phrases('nouns (words)')
NEW_NOUNS = phrases('nouns, test only (words)')
_STARTS = ('b c d f g h j k l m n p r s t v w z '
           'bl br ch cl cr dr fl fr gl gr pl pr sh sl sn st th tr').split()
_VOWELS = 'a e i o u ai ea ee oo ou'.split()
_ENDS = ['', '', 'n', 'r', 't', 'l', 'm', 'k', 'nd', 'st', 'ck', 'x', 'ng']


def invented(r: np.random.Generator) -> str:
    """A word that nobody has seen; copying it cannot be learnt by heart."""
    word = ''.join(_STARTS[r.integers(len(_STARTS))] + _VOWELS[r.integers(len(_VOWELS))]
                   for _ in range(int(r.integers(1, 4))))
    return word + _ENDS[r.integers(len(_ENDS))]
