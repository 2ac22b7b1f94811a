# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A conversation, and the tokens it becomes."""
from dataclasses import dataclass
from functools import cached_property
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np

from nanovlm_ros.types import Frame


@dataclass(frozen=True)
class Turn:
    """What the user said, the images shown with it, and the reply (None: wanted now)."""

    user: str
    frames: Tuple[Frame, ...] = ()
    assistant: Optional[str] = None


@dataclass(frozen=True)
class Prompt:
    """A tokenised conversation: runs of token ids and images, in order.

    `segments` holds lists of token ids and frames; a frame stands for
    `tokens_per_image` rows.
    """

    segments: Sequence[Union[List[int], Frame]]
    tokens_per_image: int

    @property
    def frames(self) -> List[Frame]:
        """The images, in order."""
        return [frame for frame, _ in self.ends]

    @cached_property
    def ends(self) -> List[Tuple[Frame, int]]:
        """The images, in order, each with the row after its last one."""
        ends, row = [], 0
        for segment in self.segments:
            is_frame = isinstance(segment, Frame)
            row += self.tokens_per_image if is_frame else len(segment)
            if is_frame:
                ends.append((segment, row))
        return ends

    @property
    def n_image_tokens(self) -> int:
        """Rows that are image."""
        return self.tokens_per_image * len(self.frames)

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
        rows = np.arange(self.tokens_per_image, dtype=np.int64)
        return np.concatenate([
            -1 - (s.key * self.tokens_per_image + rows) if isinstance(s, Frame)
            else np.asarray(s, np.int64) for s in self.segments])
