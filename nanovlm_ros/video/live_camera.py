# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A camera that does not wait: a thread of its own reads it, and only the newest picture counts."""
import re
import threading
import time
from typing import Iterator, Optional

import cv2

from nanovlm_ros.types import ErrorCode, NanoVlmError
from nanovlm_ros.video.source import Note, Picture, Source
from nanovlm_ros.video.video_file import FASTEST

PATIENCE = 2.0  # s for a read that goes on when nobody wants its picture any more


class LiveCamera(Source):
    """A V4L2 device or an RTSP address; times are those of arrival. Raises NO_IMAGE."""

    live = True

    def __init__(self, address: str, note: Note):
        # Without user and password, which do not belong into messages.
        self._name, self._note = re.sub(r'//[^/@]*@', '//', address), note
        stream = '://' in address
        self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG if stream else cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            hint = ('is the address right, and does the camera run?' if stream else
                    'is another program using it, and may you (group video)?')
            raise NanoVlmError(ErrorCode.NO_IMAGE,
                               f'The camera {self._name} cannot be opened: {hint}')
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        if 0 < rate <= FASTEST:
            self.fps = rate
        self._changed = threading.Condition()
        self._newest: Optional[Picture] = None
        self._taking = self._stop = self._ended = False
        self._thread = threading.Thread(target=self._read, name='camera', daemon=True)
        self._thread.start()  # now, for a stream that nobody reads is given up by its server

    def __iter__(self) -> Iterator[Picture]:
        start = None
        with self._changed:
            self._newest, self._taking = None, True
        while True:
            with self._changed:
                while self._newest is None and not self._ended:
                    self._changed.wait()
                picture, self._newest = self._newest, None
            if picture is None:
                break
            start = picture.ns if start is None else start
            yield picture._replace(ns=picture.ns - start)
        if start is None:
            raise NanoVlmError(ErrorCode.NO_IMAGE, f'The camera {self._name} gives no picture.')
        self._note(f'The camera {self._name} gives no more pictures.')

    def close(self) -> None:
        self._stop = True
        self._thread.join(PATIENCE)

    def _read(self) -> None:
        try:
            while not self._stop:
                good, bgr = self._capture.read()
                if not good:
                    return
                with self._changed:
                    self.dropped += self._taking and self._newest is not None
                    self._newest = Picture(bgr, time.monotonic_ns())
                    self._changed.notify()
        finally:
            self._capture.release()  # on this thread: not while it is read
            with self._changed:
                self._ended = True
                self._changed.notify()
