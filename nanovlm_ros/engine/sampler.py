# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From logits to a token; on a GPU, `device_sampler` does the same."""
from typing import List, Optional, Sequence

import numpy as np

from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError

NO_TOKEN = -1  # the logits allow none


class Sampler:
    """Samples the tokens of one request; its own generator makes a seed repeatable.

    `seen` (n,) are the text tokens of the prompt, for the repetition penalty.
    """

    def __init__(self, config: GenerationConfig, seen: np.ndarray, vocab_size: int):
        self.config = config
        self.seen = np.zeros(vocab_size, bool)  # which the penalty counts
        self.seen[seen[seen < vocab_size]] = True
        self._random = np.random.Generator(np.random.PCG64(config.seed))

    def uniform(self) -> float:
        """Return the next random number of the request, in [0, 1)."""
        return self._random.random()

    def choose(self, logits: np.ndarray, allowed: Optional[np.ndarray] = None) -> int:
        """Return a token of logits (vocab_size,) among those `allowed` (bool, same shape).

        NO_TOKEN when there is none: the logits hold NaN or infinity, or all are masked.
        """
        penalty = self.config.repetition_penalty
        if penalty != 1:
            seen = logits[self.seen]
            logits = logits.copy()
            logits[self.seen] = np.where(seen > 0, seen / penalty, seen * penalty)
        if allowed is not None:
            logits = np.where(allowed, logits, -np.inf)
        if not np.isfinite(logits.max()):
            return NO_TOKEN
        return int(logits.argmax()) if self.config.temperature == 0 else self._draw(logits)

    def accept(self, token: int) -> int:
        """Take note of a token that was chosen and return it; MODEL_ERROR for NO_TOKEN."""
        if token == NO_TOKEN:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                'No token can be sampled: the logits hold NaN or infinity, or every token is '
                'masked. The weights or the compiled library may be damaged.')
        self.seen[token] = True
        return token

    def _draw(self, logits: np.ndarray) -> int:
        """Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751."""
        weights = np.exp((logits.astype(np.float64) - logits.max()) / self.config.temperature)
        if self.config.top_p < 1:
            # Of the likeliest tokens so many as have top_p together; of equal ones the first.
            order = np.argsort(-logits, kind='stable')
            cumulative = np.cumsum(weights[order])
            kept = int(np.searchsorted(cumulative, self.config.top_p * cumulative[-1])) + 1
            weights[order[kept:]] = 0
        cumulative = np.cumsum(weights)  # in the order of their ids
        place = self.uniform() * cumulative[-1]
        return int(np.searchsorted(cumulative, min(place, np.nextafter(cumulative[-1], 0)),
                                   'right'))


def sample_rows(logits, samplers: Sequence[Sampler], masks: Sequence[Optional[np.ndarray]]
                ) -> List[int]:
    """Return a token of each row of logits (n, vocab_size), by its sampler and its mask.

    `logits` are an array, or a tensor of a CPU. NO_TOKEN for a row that allows none.
    """
    return [sampler.choose(row, allowed)
            for row, sampler, allowed in zip(np.asarray(logits), samplers, masks)]
