# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decode step as one launch."""
from typing import Callable

import numpy as np
import torch

from nanovlm_ros.mlc.cuda.recording import HostArrays, Recorder, Recording
from nanovlm_ros.mlc.kernels.cuda.layout import EACH, readers
from nanovlm_ros.mlc.shape import DecoderShape


class DecodeGraph:
    """The step for a number of sequences and a length of their tables."""

    def __init__(self, shape: DecoderShape, step: Callable[..., torch.Tensor], rows: int,
                 length: int, spare_slot: int, recorder: Recorder):
        """`step` takes ids, slot, position, table, part and counter, and returns the logits."""
        self._arrays = HostArrays([(rows,), (rows,), (rows,), (rows, length)])
        self._arrays.host[1][:] = spare_slot
        keys = EACH * readers(shape.q_heads // shape.kv_heads, shape.head_dim)
        splits = -(-length // keys)
        self._scratch = (
            torch.empty(rows * shape.q_heads * splits * (shape.head_dim + 2), device='cuda'),
            torch.zeros(rows * shape.kv_heads, dtype=torch.int32, device='cuda'))

        def whole() -> torch.Tensor:
            self._arrays.copy()
            return step(*self._arrays.device, *self._scratch)

        self._recording = Recording(whole, recorder)

    def replay(self, ids: np.ndarray, slot: np.ndarray, position: np.ndarray, table: np.ndarray
               ) -> torch.Tensor:
        """Return the logits (rows, vocab) float32, which the next replay overwrites."""
        self._arrays.wait()
        for to, values in zip(self._arrays.host, (ids, slot, position)):
            to[:] = values
        self._arrays.host[3][:, :table.shape[1]] = table
        logits = self._recording.replay()
        self._arrays.launched()
        return logits
