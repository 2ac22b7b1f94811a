# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From logits to a token."""
from typing import Optional

import numpy as np

from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError


class Sampler:
    """Samples the tokens of one request; its own generator makes a seed repeatable.

    `seen` (n,) are the text tokens of the prompt, for the repetition penalty.
    """

    def __init__(self, config: GenerationConfig, seen: np.ndarray, vocab_size: int):
        self._config = config
        self._seen = np.zeros(vocab_size, bool)
        self._seen[seen[seen < vocab_size]] = True
        self._random = np.random.Generator(np.random.PCG64(config.seed))

    def sample(self, logits: np.ndarray, allowed: Optional[np.ndarray] = None) -> int:
        """Return a token of logits (vocab_size,) among those `allowed` (bool, same shape).

        Raises MODEL_ERROR when the logits allow none: NaN, infinite, or all masked.
        """
        penalty = self._config.repetition_penalty
        if penalty != 1:
            seen = logits[self._seen]
            logits = logits.copy()
            logits[self._seen] = np.where(seen > 0, seen / penalty, seen * penalty)
        if allowed is not None:
            logits = np.where(allowed, logits, -np.inf)
        if not np.isfinite(logits.max()):
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                'No token can be sampled: the logits hold NaN or infinity, or every token is '
                'masked. The weights or the compiled library may be damaged.')
        token = int(logits.argmax()) if self._config.temperature == 0 else self._draw(logits)
        self._seen[token] = True
        return token

    def _draw(self, logits: np.ndarray) -> int:
        """Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751."""
        scaled = (logits.astype(np.float64) - logits.max()) / self._config.temperature
        order = np.argsort(-scaled, kind='stable')
        weights = np.exp(scaled[order])
        cumulative = np.cumsum(weights / weights.sum())
        # The smallest set of likeliest tokens whose probabilities reach top_p.
        kept = int(np.searchsorted(cumulative, self._config.top_p)) + 1
        kept = min(kept, int(np.count_nonzero(weights)))
        place = self._random.random() * cumulative[kept - 1]
        return int(order[min(int(np.searchsorted(cumulative, place, 'right')), kept - 1)])
