# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A batch of rows as one launch, for batches of one make that come again and again.

A robot asks the same question about frame after frame: each time so many rows, at the same
places of a sequence. Launching their kernels one by one takes the host longer than it takes
the GPU to run them.
"""
from typing import Callable, Sequence, Tuple

import numpy as np
import torch

from nanovlm_ros.mlc.cuda.recording import HostArrays, Recorder, Recording

# Of each sequence of a batch: its new rows, and its rows with them.
Make = Tuple[Tuple[int, int], ...]


class FillGraph:
    """The run of a batch of one make."""

    def __init__(self, size: Tuple[int, int], shapes: Sequence[Tuple[int, ...]],
                 run: Callable[..., torch.Tensor], spare_slot: int, recorder: Recorder):
        """`run` takes rows of this `size` and int32 arrays of these `shapes`.

        The arrays are slot, sequence, position, table and last; `run` returns the logits.
        """
        self._arrays = HostArrays(shapes)
        self._arrays.host[0][:] = spare_slot
        self._rows = torch.zeros(size, device='cuda')

        def whole() -> torch.Tensor:
            self._arrays.copy()
            return run(self._rows, *self._arrays.device)

        self._recording = Recording(whole, recorder)

    def replay(self, rows: torch.Tensor, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """Return the logits (sequences, vocab) float32, which the next replay overwrites.

        There may be fewer rows than were recorded; what the others hold does not matter.
        """
        self._arrays.wait()
        for to, values in zip(self._arrays.host, arrays):
            to[:] = values
        self._rows[:len(rows)].copy_(rows)
        logits = self._recording.replay()
        self._arrays.launched()
        return logits
