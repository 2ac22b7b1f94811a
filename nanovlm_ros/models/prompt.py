# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A conversation, and the tokens it becomes."""
from dataclasses import dataclass
from functools import cached_property
from typing import Callable, List, Optional, Sequence, Tuple, Union

import numpy as np

from nanovlm_ros.types import Frame

MOST_ROWS = 1 << 20  # of an image


@dataclass(frozen=True)
class Turn:
    """What the user said, the images shown with it, and the reply (None: wanted now)."""

    user: str
    frames: Tuple[Frame, ...] = ()
    assistant: Optional[str] = None


@dataclass(frozen=True)
class Prompt:
    """A tokenised conversation: runs of token ids and images, in order.

    `segments` holds lists of token ids and frames; a frame stands for `image_rows(frame)` rows.
    """

    segments: Sequence[Union[List[int], Frame]]
    image_rows: Callable[[Frame], int]

    @property
    def frames(self) -> List[Frame]:
        """The images, in order."""
        return [frame for frame, _, _ in self.spans]

    @cached_property
    def spans(self) -> List[Tuple[Frame, int, int]]:
        """The images, in order, each with its first row and the one after its last."""
        spans, row = [], 0
        for segment in self.segments:
            start = row
            row += self.image_rows(segment) if isinstance(segment, Frame) else len(segment)
            if isinstance(segment, Frame):
                spans.append((segment, start, row))
        return spans

    @property
    def n_image_tokens(self) -> int:
        """Rows that are image."""
        return sum(end - start for _, start, end in self.spans)

    @property
    def n_tokens(self) -> int:
        """All rows."""
        return len(self.keys)

    @cached_property
    def text_ids(self) -> np.ndarray:
        """Ids of the text tokens alone, int64 (n,): what a repetition penalty looks at."""
        ids = [np.asarray(s, np.int64) for s in self.segments if not isinstance(s, Frame)]
        return np.concatenate(ids) if ids else np.empty(0, np.int64)

    @cached_property
    def keys(self) -> np.ndarray:
        """One int64 a row: a token's id, or a negative number unique to the row of a frame.

        Two prompts whose keys begin alike have the same rows there, and so the
        same K and V.
        """
        return np.concatenate([
            -1 - (s.key * MOST_ROWS + np.arange(self.image_rows(s), dtype=np.int64))
            if isinstance(s, Frame) else np.asarray(s, np.int64) for s in self.segments])
