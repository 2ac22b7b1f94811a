# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A part of a plan: some rows of one bag with all that is needed to make them.

It can be sent to another process. Its images begin before its first question where that
one looks at a window, so that parts overlap at the seams and agree with the whole.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import FrozenSet, List, Sequence, Tuple

import numpy as np

from nanovlm_ros.bag.plan import Ask, BagPlan
from nanovlm_ros.bag.questions import Question


@dataclass(frozen=True)
class Part:
    """Consecutive questions about a bag."""

    name: str                   # of the bag
    path: Path
    topics: Tuple[str, ...]
    questions: Tuple[Question, ...]
    asks: List[Ask]
    first: int                  # number of the first image
    log_ns: np.ndarray          # of the images from the first on
    last_use: np.ndarray        # of the same
    needed: FrozenSet[int]      # numbers of the images that are shown


def part_of(plan: BagPlan, asks: Sequence[Ask]) -> Part:
    """Return the part of a plan that asks some of its questions, one or more."""
    needed = frozenset(number for ask in asks for number in ask.frames)
    return make_part(plan, asks, needed)


def make_part(plan: BagPlan, asks: Sequence[Ask], needed: FrozenSet[int]) -> Part:
    """Return a part that shows the `needed` images."""
    index = plan.index
    # Reading begins by time: with the first image of those received at once.
    first = int(np.searchsorted(index.log_ns, index.log_ns[min(needed)]))
    end = int(np.searchsorted(index.log_ns, index.log_ns[max(needed)], 'right'))
    return Part(plan.name, plan.path, tuple(index.topics), tuple(plan.questions), list(asks),
                first, index.log_ns[first:end], plan.last_use[first:end], needed)
