# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From logits to tokens on a GPU: one kernel for a batch, and one number a row comes back.

The same tokens as `sampler` draws, but for places within a millionth of a boundary.
"""
from typing import Callable, List, Optional, Sequence

import numpy as np
import torch

from nanovlm_ros.engine.sampler import Sampler
from nanovlm_ros.models.upload import upload

# A row of settings, as sample.cu has it; bits follow.
HEAD = np.dtype([('temperature', 'f4'), ('penalty', 'f4'), ('flags', 'i4'), ('count', 'i4'),
                 ('top_p', 'f8'), ('place', 'f8')])
HEAD_WORDS = HEAD.itemsize // 4
MASKED, PENALISED = 1, 2  # flags


class DeviceSampler:
    """Draws with `kernel`: (logits (m, columns), settings) -> tokens (m,), on the device."""

    def __init__(self, kernel: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        self._kernel = kernel

    @torch.inference_mode()
    def __call__(self, logits: torch.Tensor, samplers: Sequence[Sampler],
                 masks: Sequence[Optional[np.ndarray]]) -> List[int]:
        """Return a token of each row of logits (n, vocab_size) float, by its sampler and its mask.

        NO_TOKEN for a row that allows none.
        """
        made = settings(samplers, masks, logits.shape[1])
        return self._kernel(logits, upload(made, logits.device)).tolist()


def settings(samplers: Sequence[Sampler], masks: Sequence[Optional[np.ndarray]], count: int
             ) -> np.ndarray:
    """Return what the kernel is to know of each row, (rows, width) int32, for `count` tokens."""
    penalised = [sampler.config.repetition_penalty != 1 for sampler in samplers]
    bits = any(penalised) or any(mask is not None for mask in masks)
    words = -(-count // 32) if bits else 0
    table = np.zeros((len(samplers), HEAD_WORDS + 2 * words), np.int32)
    for row, sampler, allowed, counts in zip(table, samplers, masks, penalised):
        config = sampler.config
        row[:HEAD_WORDS].view(HEAD)[0] = (
            config.temperature, config.repetition_penalty,
            MASKED * (allowed is not None) | PENALISED * counts, count, config.top_p,
            sampler.uniform() if config.temperature else 0)
        if allowed is not None:
            _set_bits(row[HEAD_WORDS:HEAD_WORDS + words], allowed)
        if counts:
            _set_bits(row[HEAD_WORDS + words:], sampler.seen)
    return table


def _set_bits(words: np.ndarray, flags: np.ndarray) -> None:
    packed = np.packbits(flags, bitorder='little')
    words.view(np.uint8)[:len(packed)] = packed
