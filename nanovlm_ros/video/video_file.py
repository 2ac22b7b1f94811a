# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A video in a file, picture by picture; nothing is left out."""
from pathlib import Path
from typing import Iterator

import cv2

from nanovlm_ros.types import ErrorCode, NanoVlmError
from nanovlm_ros.video.source import SECOND, Note, Picture, Source

FASTEST = 1000.0  # Hz; a rate above is a time base that was taken for one
TEXT = 'ansi'     # FFmpeg shows text files as films of a terminal


class VideoFile(Source):
    """Whatever OpenCV's FFmpeg reads. Raises BAD_IMAGE where that is nothing."""

    def __init__(self, path: Path, note: Note):
        self._path, self._note = path, note
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened() or fourcc(self._capture) == TEXT:
            self._capture.release()
            raise NanoVlmError(ErrorCode.BAD_IMAGE,
                               f'{path} is not a video that can be read; it may be cut short, or '
                               'of another kind.')
        good, self._first = self._capture.read()
        if not good:
            codec = fourcc(self._capture)
            self._capture.release()
            raise NanoVlmError(ErrorCode.BAD_IMAGE,
                               f'{path} is a video, but no picture of it can be decoded (codec '
                               f'{codec!r}); convert it to H.264, for example.')
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        if 0 < rate <= FASTEST:
            self.fps = rate
        else:
            note(f'{path} names no frame rate; {self.fps:g} frames a second are assumed.')
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total = int(count) if count > 0 else None

    def __iter__(self) -> Iterator[Picture]:
        good, bgr, ns, number = True, self._first, 0, 0
        start = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        while good:
            if number:
                # Some containers have no times, or wrong ones; a film never runs back.
                told = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6) - start
                ns = told if told > ns else ns + round(SECOND / self.fps)
            yield Picture(bgr, ns)
            number += 1
            good, bgr = self._capture.read()
        # The header's count is an estimate in some containers: by a picture it proves nothing.
        if self.total and number < 0.99 * self.total - 1:
            self._note(f'{self._path} ends after {number} frames, and its header tells of '
                       f'{self.total}; it is cut short or corrupt.')

    def close(self) -> None:
        self._capture.release()


def fourcc(capture) -> str:
    """Return the four letters of a capture's codec."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, 'little', signed=code < 0).decode('latin-1').strip('\0 ')
