# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From logits to tokens where the logits are: of a whole batch, one number a row comes back.

The same tokens as `sampler` draws, whose formulas these are; nothing here waits for the device
but the one transfer at the end.
"""
from typing import List, Optional, Sequence

import numpy as np
import torch

from nanovlm_ros.engine.sampler import NO_TOKEN, Sampler
from nanovlm_ros.models.upload import upload


@torch.inference_mode()
def sample_rows(logits: torch.Tensor, samplers: Sequence[Sampler],
                masks: Sequence[Optional[np.ndarray]]) -> List[int]:
    """Return a token of each row of logits (n, vocab_size) float, by its sampler and its mask.

    NO_TOKEN for a row that allows none.
    """
    if all(sampler.config.temperature == 0 and sampler.config.repetition_penalty == 1
           for sampler in samplers) and all(mask is None for mask in masks):
        return _likeliest(logits).tolist()
    return torch.stack([_choose(row, sampler, allowed) for row, sampler, allowed in zip(
        logits, samplers, masks)]).tolist()


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The place of the largest of (..., vocab_size), int64 (...); NO_TOKEN where it is none."""
    largest, tokens = logits.max(-1)  # NaN, if there is one
    return tokens.where(largest.abs() < torch.inf, NO_TOKEN)


def _choose(logits: torch.Tensor, sampler: Sampler, allowed: Optional[np.ndarray]
            ) -> torch.Tensor:
    """`Sampler.choose`; the token is int64 ()."""
    penalty = sampler.config.repetition_penalty
    if penalty != 1:
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        logits = torch.where(upload(sampler.seen, logits.device), penalised, logits)
    if allowed is not None:
        logits = logits.where(upload(allowed, logits.device), -torch.inf)
    if sampler.config.temperature == 0:
        return _likeliest(logits)
    return _draw(logits, sampler)


def _draw(logits: torch.Tensor, sampler: Sampler) -> torch.Tensor:
    """Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751."""
    ordered, order = logits.sort(descending=True, stable=True)  # NaN comes first
    cumulative = (ordered.double() / sampler.config.temperature).softmax(0).cumsum(0)
    # The last of the smallest set of likeliest tokens whose probabilities reach top_p, or all
    # there is; NaN lies beyond the end.
    reached = cumulative[-1:].clamp(max=sampler.config.top_p)
    last = torch.searchsorted(cumulative, reached).clamp(max=len(order) - 1)
    place = sampler.uniform() * cumulative.gather(0, last)
    token = order.gather(0, torch.searchsorted(cumulative, place, right=True).minimum(last))
    return token.where(ordered[:1].abs() < torch.inf, NO_TOKEN)[0]
