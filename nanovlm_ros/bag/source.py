# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a part of a bag, read and decoded on a thread of their own."""
import logging
import threading
from queue import Full, Queue
from typing import Dict, Iterable, Iterator, Sequence, Tuple

from nanovlm_ros.bag.frames import frame_of
from nanovlm_ros.bag.part import Part
from nanovlm_ros.bag.reader import Bag, bad
from nanovlm_ros.types import Frame, NanoVlmError

LOG = logging.getLogger(__name__)
AHEAD = 8  # frames that are read before they are needed


class FrameSource:
    """Yields (number, frame) of the images that a part needs, in order; used inside `with`.

    With `decoded` the pixels are there when a frame is taken, so that the engine's thread
    spends no time on them.
    """

    def __init__(self, part: Part, decoded: bool = True):
        self._part, self._decoded = part, decoded
        self._queue: Queue = Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._main, name='bag-reader', daemon=True)

    def __enter__(self) -> 'FrameSource':
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Tuple[int, Frame]]:
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item

    def _main(self) -> None:
        try:
            for item in self._read():
                if not self._put(item):
                    return
            self._put(None)
        except BaseException as error:  # the thread that takes the frames raises it
            self._put(error)

    def _put(self, item) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except Full:
                continue
        return False

    def _read(self) -> Iterator[Tuple[int, Frame]]:
        part = self._part
        number = part.first
        with Bag(part.path, part.name) as bag:
            stop = int(part.log_ns[-1]) + 1
            for record in bag.messages(part.topics, int(part.log_ns[0]), stop):
                place = number - part.first
                if place >= len(part.log_ns) or record.log_ns != part.log_ns[place]:
                    break
                if number in part.needed:
                    frame = frame_of(bag, record)
                    if self._decoded:
                        decode([frame])
                    yield number, frame
                number += 1
        if number != part.first + len(part.log_ns):
            raise bad(f'{part.path} is not what it was when its stamps were read; is it still '
                      'being recorded? Run again when it is complete.')


def decode(frames: Iterable[Frame]) -> None:
    """Decode frames; one that cannot be is marked as broken, and the engine will say why."""
    for frame in frames:
        try:
            frame.rgb
        except NanoVlmError as error:
            LOG.info('An image of %s at %s ns: %s', frame.camera, frame.stamp_ns, error.message)


class Shelf:
    """The frames of a source that may still be needed."""

    def __init__(self, source: FrameSource, part: Part):
        self._frames, self._part = iter(source), part
        self._held: Dict[int, Frame] = {}
        self._newest = part.first - 1

    def take(self, numbers: Sequence[int], trigger: int) -> Tuple[Frame, ...]:
        """Return frames by number; what nothing shows after image `trigger` is let go."""
        part = self._part
        self._held = {n: frame for n, frame in self._held.items()
                      if part.last_use[n - part.first] >= trigger}
        while self._newest < max(numbers):
            number, frame = next(self._frames)
            self._newest = number
            if part.last_use[number - part.first] >= trigger or number in numbers:
                self._held[number] = frame
        return tuple(self._held[number] for number in numbers)
