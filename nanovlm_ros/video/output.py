# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""An mp4 file that is written picture by picture, and checked when it is done.

OpenCV tells of no failed write. So the disk is looked at now and then, and the finished file is
opened again: it must hold as many pictures as were written.
"""
import shutil
from pathlib import Path
from typing import Optional

import cv2
import numpy as np

from nanovlm_ros.types import ErrorCode, NanoVlmError
from nanovlm_ros.video.source import SECOND, Note

CODEC = cv2.VideoWriter_fourcc(*'mp4v')
LOOK = 100       # pictures between two looks at the disk
SPARE = 1 << 20  # bytes that must be free there


class Output:
    """The size is that of the first picture. Raises INVALID_REQUEST where it cannot be written."""

    def __init__(self, path: Path, fps: float, note: Note):
        self._path, self._fps, self._note = path, fps, note
        self.frames = 0
        self._writer: Optional[cv2.VideoWriter] = None
        self._last = np.empty((0, 0, 3), np.uint8)
        if path.suffix.lower() != '.mp4':
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'The output {path} does not end in .mp4, the kind that is '
                               'written.')
        self._new = not path.exists()
        try:
            path.open('ab').close()  # says why not, which OpenCV does not
        except OSError as error:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'The output {path} cannot be written: {error.strerror}.') from error

    def __enter__(self) -> 'Output':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def write(self, bgr: np.ndarray, ns: Optional[int] = None) -> None:
        """Append a picture (height, width, 3), resized to the first one's size.

        With its time `ns` since the first one, the picture before stands until then, or this one
        is left out because it came faster than the frame rate. Raises INVALID_REQUEST when the
        disk is full.
        """
        if self._writer is None:
            self._open(bgr)
        else:
            height, width = self._last.shape[:2]
            bgr = bgr if bgr.shape == self._last.shape else cv2.resize(bgr, (width, height))
        if ns is not None:
            due = round(ns * self._fps / SECOND)
            while self.frames < due:
                self._append(self._last)
            if self.frames > due:
                return
        self._append(bgr)

    def close(self) -> None:
        """Finish the file. Raises INVALID_REQUEST when it does not hold what was written."""
        writer, self._writer = self._writer, None
        if writer is None:
            if not self.frames and self._new:
                self._path.unlink(missing_ok=True)  # it was made to try
            return
        writer.release()
        check = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        held = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if held != self.frames:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'{self.frames} frames were written to {self._path}, but it holds '
                               f'{held}; is the disk full?')

    def _open(self, bgr: np.ndarray) -> None:
        height, width = bgr.shape[:2]
        self._writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, CODEC, self._fps,
                                       (width, height))
        if not self._writer.isOpened():
            self._writer = None
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'The output {self._path} of {width} x {height} pixels at '
                               f'{self._fps:g} frames a second cannot be written by OpenCV.')
        if width % 2 or height % 2:
            self._note(f'The pictures are {width} x {height} pixels, and mp4 takes even numbers '
                       f'only: {self._path} loses the last row or column.')

    def _append(self, bgr: np.ndarray) -> None:
        assert self._writer is not None
        if self.frames % LOOK == 0 and shutil.disk_usage(self._path.parent).free < SPARE:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'The disk is full: {self._path} ends after {self.frames} frames.')
        self._writer.write(bgr)
        self.frames, self._last = self.frames + 1, bgr
