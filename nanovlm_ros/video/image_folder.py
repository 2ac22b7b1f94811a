# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of JPEG and PNG files as a video: in the order of their names, one a period."""
import re
from pathlib import Path
from typing import Iterator

import numpy as np

from nanovlm_ros.imaging import decode_compressed
from nanovlm_ros.types import ErrorCode, NanoVlmError
from nanovlm_ros.video.source import SECOND, Note, Picture, Source

SUFFIXES = {'.jpg', '.jpeg', '.png'}


class ImageFolder(Source):
    """Images that are `period` s apart, 1 s where it is 0. Raises INVALID_REQUEST for none."""

    def __init__(self, path: Path, period: float, note: Note):
        self._paths = sorted((p for p in path.iterdir() if p.suffix.lower() in SUFFIXES),
                             key=_natural)
        if not self._paths:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'{path} holds no image; its files must end in '
                               f'{", ".join(sorted(SUFFIXES))}.')
        self._note, self._period = note, period or 1.0
        self.fps, self.total = 1 / self._period, len(self._paths)

    def __iter__(self) -> Iterator[Picture]:
        """An image that cannot be decoded is told of and left out; its time stays its own."""
        for number, path in enumerate(self._paths):
            try:
                rgb = decode_compressed(path.read_bytes())
            except NanoVlmError as error:
                self._note(f'{path} is left out: {error.message}')
            except OSError as error:
                self._note(f'{path} is left out: {error.strerror}.')
            else:
                yield Picture(np.ascontiguousarray(rgb[..., ::-1]),
                              number * round(self._period * SECOND))


def _natural(path: Path):
    """Sort 2.png before 10.png."""
    return [(int(part), '') if part.isdecimal() else (0, part)
            for part in re.split(r'(\d+)', path.name)]
