# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a video comes from, whatever it is: pictures with their times."""
from typing import Callable, Iterator, NamedTuple, Optional

import numpy as np

SECOND = 1_000_000_000  # ns
Note = Callable[[str], None]  # is told, in a sentence, what does not end a video


class Picture(NamedTuple):
    """One picture of a video."""

    bgr: np.ndarray  # uint8, (height, width, 3), as OpenCV reads and writes it
    ns: int          # since the first one


class Source:
    """Iterating gives the pictures, once; `close()` in any case."""

    fps = 30.0                    # pictures a second
    total: Optional[int] = None   # pictures, where that is known
    live = False                  # it does not wait: pictures nobody took in time are dropped
    dropped = 0                   # of a live one, so far

    def __iter__(self) -> Iterator[Picture]:
        raise NotImplementedError

    def __enter__(self) -> 'Source':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or the camera."""
