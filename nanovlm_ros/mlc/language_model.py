# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A compiled decoder at work: library, weights, K/V pool. Needs only TVM's runtime."""
from abc import ABC, abstractmethod
from pathlib import Path
from typing import List, Mapping, Sequence, Tuple

import numpy as np
import torch

from nanovlm_ros.mlc.kv_cache import KVCache
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError


class LanguageModel(ABC):
    """Embeds tokens and runs ragged batches of rows over the cached sequences.

    What it takes and gives are torch tensors on its `device`; logits last until the next call.
    Not thread-safe: one thread creates, uses and drops it.
    """

    def __init__(self, device: torch.device, vocab: int, positions: int, slots: int):
        self.device, self.positions, self._vocab = device, positions, vocab
        self.cache = KVCache(slots)

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings (m, hidden) float32 of token ids. Raises MODEL_ERROR."""
        return self._embed_tokens(self._checked(ids))

    def run(self, batch: Sequence[Tuple[int, int]], rows: torch.Tensor) -> torch.Tensor:
        """Append rows to sequences; return the logits (len(batch), vocab) of each one's last.

        `batch` names the sequences and how many rows each gets; `rows` is the
        (sum of counts, hidden) float32 tensor of all of them, which is overwritten; the logits
        are float32. Raises OutOfSlots, and CONTEXT_OVERFLOW for rows past the last position;
        after any exception the sequences are as before.
        """
        return self._append(batch, lambda *places: self._run_rows(batch, rows, *places))

    def decode(self, batch: Sequence[Tuple[int, int]]) -> torch.Tensor:
        """Append a token to each sequence: as `run`, but `batch` holds (sequence, token).

        No sequence may come twice. Raises as `embed` and `run` do.
        """
        ids = self._checked([token for _, token in batch])
        counts = [(sequence, 1) for sequence, _ in batch]
        return self._append(counts, lambda *places: self._decode_tokens(counts, ids, *places))

    @abstractmethod
    def _embed_tokens(self, ids: np.ndarray) -> torch.Tensor:
        """Look ids (m,) int32 up."""

    @abstractmethod
    def _run_rows(self, batch, rows: torch.Tensor, slot: np.ndarray, sequence: np.ndarray,
                  position: np.ndarray) -> torch.Tensor:
        """Run rows that have their slots, sequences and positions, (m,) int32 each."""

    @abstractmethod
    def _decode_tokens(self, batch, ids: np.ndarray, slot: np.ndarray, sequence: np.ndarray,
                       position: np.ndarray) -> torch.Tensor:
        """Run one token of each sequence."""

    def _append(self, batch: Sequence[Tuple[int, int]], forward) -> torch.Tensor:
        """Give the rows of a batch their places, and run them; undo that if it fails."""
        before = {sequence: self.cache.length(sequence) for sequence, _ in batch}
        self._check_positions(batch, before)
        try:
            return forward(*self._place(batch))
        except BaseException:
            for sequence, length in before.items():
                self.cache.drop(sequence, length, self.cache.length(sequence))
            raise

    def _checked(self, ids: Sequence[int]) -> np.ndarray:
        """The kernels read the table unchecked."""
        tokens = np.asarray(ids, np.int32)
        unknown = tokens[(tokens < 0) | (tokens >= self._vocab)]
        if unknown.size:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'The tokenizer gave the id {unknown[0]}, and the language model knows '
                f'{self._vocab}: the two belong to different models.')
        return tokens

    def _check_positions(self, batch, before) -> None:
        """The kernels read the rotary tables unchecked."""
        longest = max(before[sequence] + count for sequence, count in batch)
        if longest > self.positions:
            raise NanoVlmError(
                ErrorCode.CONTEXT_OVERFLOW,
                f'A sequence would have {longest} rows, but the context has {self.positions}; '
                'ask about less, or raise context_length.')

    def _place(self, batch) -> List[np.ndarray]:
        columns = []
        for index, (sequence, count) in enumerate(batch):
            start = self.cache.length(sequence)
            columns.append((self.cache.extend(sequence, count), np.full(count, index, np.int32),
                            np.arange(start, start + count, dtype=np.int32)))
        return [np.concatenate(column) for column in zip(*columns)]


def open_language_model(shape: DecoderShape, library: Path, weights: Mapping[str, np.ndarray], *,
                        rope_theta: float, positions: int, slots: int) -> LanguageModel:
    """Return the decoder of a library with its weights, for sequences of at most `positions`.

    `weights` has the parameters by the names of `DecoderShape.parameter_names`, `slots` are the
    rows of the cache, of all sequences. Raises NOT_READY where the device of `shape` is missing.
    """
    if shape.device == 'cuda':
        from nanovlm_ros.mlc.cuda.language_model import CudaLanguageModel as Model
    else:
        from nanovlm_ros.mlc.cpu_language_model import CpuLanguageModel as Model
    return Model(shape, library, weights, rope_theta=rope_theta, positions=positions, slots=slots)


def rope_tables(rotated: int, theta: float, positions: int):
    """Return cos and sin, (positions, rotated / 2) float32. Su et al., arXiv:2104.09864."""
    inverse = theta ** (-np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    angle = np.arange(positions, dtype=np.float64)[:, None] * inverse
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
