# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which questions are asked about which images of a bag: decided before any is asked.

The plan is made from headers alone, by the same `FrameWindow` as the node's. So every
worker, and every run that goes on where another was killed, asks the same.
"""
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from nanovlm_ros.bag.frames import frame_of, is_sound
from nanovlm_ros.bag.progress import reading
from nanovlm_ros.bag.questions import ROLLING, WINDOW, Question
from nanovlm_ros.bag.reader import SECOND, Bag, bad
from nanovlm_ros.engine.window import FrameWindow


@dataclass(frozen=True)
class Sampling:
    """Which images of the bags are looked at."""

    topics: Tuple[str, ...] = ()   # empty: those the questions name, else the first
    start_s: float = 0.0           # from the beginning of each bag
    end_s: float = float('inf')
    every: int = 1                 # each so many-th image of a topic
    period_s: float = 0.0          # least time between two images of a topic, by their stamps


class Stamp(NamedTuple):
    """What the plan knows of an image; `number` counts those of the bag."""

    number: int
    stamp_ns: int
    format: int            # equal where `Frame.format` is
    broken: bool = False   # a window asks; whether pixels can be decoded shows later


class Ask(NamedTuple):
    """One answer to be: a row of the results."""

    trigger: int              # number of the image whose arrival it follows
    question: int
    phrasing: int
    frames: Tuple[int, ...]   # numbers of the images, in the order the model sees them


class ImageIndex:
    """The images of a bag's topics in the order of their arrival, numbered from 0."""

    def __init__(self, bag: Bag, topics: Sequence[str], sampling: Sampling):
        self.topics = list(topics)
        self.start_ns = bag.start_ns + round(sampling.start_s * SECOND)
        self.stop_ns = min(bag.end_ns, bag.start_ns + round(
            min(sampling.end_s, 1e9) * SECOND))
        log, stamps, topic, sound = [], [], [], []
        formats, known, checksum = [], {}, 0
        records = bag.messages(self.topics, self.start_ns, self.stop_ns)
        count = sum(bag.topics[name].count for name in self.topics)
        for record in reading(records, count, bag.name):
            frame = frame_of(bag, record)
            checksum = zlib.crc32(record.raw, checksum)
            log.append(record.log_ns)
            stamps.append(frame.stamp_ns or record.log_ns)
            topic.append(self.topics.index(record.topic))
            sound.append(is_sound(frame))
            formats.append(known.setdefault(frame.format, len(known)))
        self.log_ns, self.stamp_ns = np.array(log, np.int64), np.array(stamps, np.int64)
        self.topic, self.sound = np.array(topic, np.int16), np.array(sound, bool)
        self._formats = np.array(formats, np.int32)
        # Of all bytes, and times of receipt: images that are not the same have another.
        self.checksum = zlib.crc32(self.log_ns.tobytes(), checksum)
        self.sampled = self._sample(sampling)

    def __len__(self) -> int:
        return len(self.log_ns)

    def stamp(self, number: int) -> Stamp:
        """Return what a window is to know of an image."""
        return Stamp(number, int(self.stamp_ns[number]), int(self._formats[number]))

    def numbers(self, topic: str) -> np.ndarray:
        """Return the numbers of a topic's images."""
        return np.flatnonzero(self.topic == self.topics.index(topic))

    def jumps(self, topic: str) -> List[Tuple[int, int]]:
        """Return (number, ns) of the images whose stamp lies before that of the one before."""
        numbers = self.numbers(topic)
        steps = np.diff(self.stamp_ns[numbers])
        return [(int(numbers[i + 1]), int(-steps[i])) for i in np.flatnonzero(steps < 0)]

    def _sample(self, sampling: Sampling) -> np.ndarray:
        chosen = np.zeros(len(self), bool)
        for topic in self.topics:
            due = FrameWindow(1, sampling.period_s)
            for number in self.numbers(topic)[::sampling.every].tolist():
                stamp = self.stamp(number)
                if due.due(stamp.stamp_ns):
                    due.add(stamp)
                    chosen[number] = True
        return chosen


class View:
    """The images that a question is given, as they change while images arrive."""

    def __init__(self, index: ImageIndex, question: Question, cameras: Sequence[str]):
        window = question.source == WINDOW
        # Without rolls nothing is dropped from a KV cache, so that the answers are those of
        # an exact prefill of the same frames; only which frames there are differs.
        rolls = 0 if window and question.window_mode == ROLLING else None
        windows = [FrameWindow(question.window_frames, question.window_period_s, rolls)
                   for _ in cameras]
        place = {index.topics.index(name): i for i, name in enumerate(cameras)}
        self.since: List[int] = []                 # numbers of the images that changed it
        self.frames: List[Tuple[int, ...]] = []    # what it shows from then on
        for number, topic in enumerate(index.topic.tolist()):
            if topic not in place or (window and not index.sound[number]):
                continue
            held = windows[place[topic]]
            stamp = index.stamp(number)
            if not held.due(stamp.stamp_ns):
                continue
            held.add(stamp)
            shown = [each.last() for each in windows]
            self.since.append(number)
            # Not before every camera has an image; a window is asked about as it fills.
            self.frames.append(tuple(
                stamp.number for each in shown for stamp in each) if all(shown) else ())

    def after(self, number: int) -> Tuple[int, ...]:
        """Return the images to be shown once this one has arrived; empty: not enough yet."""
        place = bisect_right(self.since, number)
        return self.frames[place - 1] if place else ()


class BagPlan:
    """A bag's images and what is asked about them, in the order of the rows."""

    def __init__(self, bag: Bag, questions: Sequence[Question], sampling: Sampling):
        self.name, self.path = bag.name, bag.path
        self.start_ns, self.end_ns = bag.start_ns, bag.end_ns
        self.questions = list(questions)
        # (number of the question, its cameras): several topics are asked about one by one.
        self.entries = [(number, cameras) for number, question in enumerate(questions)
                        for cameras in _cameras(bag, question, sampling)]
        topics = list(dict.fromkeys(name for _, names in self.entries for name in names))
        for name in topics:
            bag.require(name)
        self.index = ImageIndex(bag, topics, sampling)
        if not len(self.index):
            raise bad(f'{bag.path} has no images on {", ".join(topics)} in the time from '
                      f'--start to --end; it is {bag.seconds(bag.end_ns):.1f} s long.')
        views: Dict[tuple, View] = {}
        self.views = []
        for number, cameras in self.entries:
            question = questions[number]
            key = (question.source, question.window_frames, question.window_period_s,
                   question.window_mode, tuple(cameras))
            if key not in views:
                views[key] = View(self.index, question, cameras)
            self.views.append(views[key])
        self.last_use = self._last_use(views.values())
        self.asks: List[Ask] = sorted(
            ask for entry in range(len(self.entries)) for ask in self._asks(entry))

    def warnings(self) -> List[str]:
        """Return sentences about what is odd in this bag."""
        said = []
        for topic in self.index.topics:
            jumps = self.index.jumps(topic)
            if jumps:
                number, back = jumps[0]
                at = (int(self.index.log_ns[number]) - self.start_ns) / SECOND
                said.append(
                    f'{self.path}: the stamps on {topic} go back {len(jumps)} times, first by '
                    f'{back / SECOND:.3f} s at {at:.3f} s. Windows begin anew there, as in the '
                    'node; labels by stamp may mean another time. Evaluate the parts on their '
                    'own with --start and --end.')
        for (number, cameras), view in zip(self.entries, self.views):
            question = self.questions[number]
            if not any(view.frames):
                said.append(f'{self.path}: question {question.id!r} is never asked: there is no '
                            f'good image on each of {", ".join(cameras)}.')
            end = (int(self.index.log_ns[-1]) - self.start_ns) / SECOND
            late = [s for s in question.stamps if s > end]
            if late:
                said.append(f'{self.path}: question {question.id!r} is not asked at '
                            f'{", ".join(f"{s:g}" for s in late)} s: the last image comes at '
                            f'{end:.3f} s.')
        return said

    def _asks(self, entry: int) -> List[Ask]:
        number, view = self.entries[entry][0], self.views[entry]
        asks, asked = [], ()
        for trigger in self._triggers(entry):
            frames = view.after(trigger)
            if not frames or frames == asked:
                continue
            asked = frames
            asks += [Ask(trigger, number, phrasing, frames)
                     for phrasing in range(len(self.questions[number].phrasings))]
        return asks

    def _triggers(self, entry: int) -> List[int]:
        number, cameras = self.entries[entry]
        question, view, index = self.questions[number], self.views[entry], self.index
        mine = index.numbers(cameras[0])
        if question.stamps:
            ready = next((n for n, frames in zip(view.since, view.frames) if frames), None)
            mine = mine[mine >= (len(index) if ready is None else ready)]
            times = [self.start_ns + round(s * SECOND) for s in question.stamps]
            places = np.searchsorted(index.log_ns[mine], times)
            return sorted({int(mine[place]) for place in places if place < len(mine)})
        due, triggers = FrameWindow(1, question.period_s), []
        for trigger in mine[index.sampled[mine]].tolist():
            stamp = index.stamp(trigger)
            if view.after(trigger) and due.due(stamp.stamp_ns):
                due.add(stamp)
                triggers.append(trigger)
        return triggers

    def _last_use(self, views) -> np.ndarray:
        """For each image the number of the last one after which some view still shows it."""
        last = np.full(len(self.index), -1, np.int64)
        for view in views:
            for frames, until in zip(view.frames, [*view.since[1:], len(self.index)]):
                for number in frames:
                    last[number] = max(last[number], until - 1)
        return last


def _cameras(bag: Bag, question: Question, sampling: Sampling) -> List[List[str]]:
    """Return the topics a question looks at: its own, else each given one, else the first."""
    if question.cameras:
        return [list(question.cameras)]
    if sampling.topics:
        return [[name] for name in sampling.topics]
    images = bag.image_topics()
    if not images:
        there = ', '.join(f'{t.name} ({t.msgtype})' for t in sorted(bag.topics.values()))
        raise bad(f'{bag.path} has no images; its topics are: {there}. Record a topic of type '
                  'sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage.')
    return [[images[0].name]]


def make_plans(bags: Sequence[Bag], questions: Sequence[Question], sampling: Sampling
               ) -> List[BagPlan]:
    """Return the plan of each bag; each is read once for its stamps."""
    plans: List[BagPlan] = []
    for bag in bags:
        with bag:
            plans.append(BagPlan(bag, questions, sampling))
    return plans
