# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the right answers are: constants, label files, topics of the bag.

A label file is JSONL. A line has a range, half open, and any fields:
`{"start_ns": ..., "end_ns": ..., "door": "open"}` by the stamps of the images' headers, or
`{"start": 0.0, "end": 12.5, ...}` in seconds since the beginning of the bag, by the time at
which images were received. `"bag": NAME` keeps a line to one bag.
"""
import json
import math
from bisect import bisect_right
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

from nanovlm_ros.bag.labels import canonical
from nanovlm_ros.bag.plan import BagPlan
from nanovlm_ros.bag.questions import Question
from nanovlm_ros.bag.reader import SECOND, Bag, bad
from nanovlm_ros.bag.results import digest
from nanovlm_ros.bag.scoring import score

RANGES = (('start_ns', 'end_ns'), ('start', 'end'))


class Span(NamedTuple):
    """A value that holds in [start_ns, end_ns)."""

    start_ns: int
    end_ns: int
    line: int
    value: Any


class Timeline:
    """Values by time; none overlap."""

    def __init__(self, spans: Sequence[Span], place: str):
        self._spans = sorted(spans, key=lambda span: span.start_ns)
        self._starts = [span.start_ns for span in self._spans]
        for one, other in zip(self._spans, self._spans[1:]):
            if other.start_ns < one.end_ns:
                raise bad(f'{place}: lines {one.line} and {other.line} overlap in time; let each '
                          'end where the next begins.')

    def at(self, ns: int) -> Any:
        """Return the value at a time, or None."""
        place = bisect_right(self._starts, ns) - 1
        if place < 0 or ns >= self._spans[place].end_ns:
            return None
        return self._spans[place].value

    def values(self) -> list:
        """Return what holds when, as JSON."""
        return [(span.start_ns, span.end_ns, span.value) for span in self._spans]


class Truths:
    """The truth of each question at each image of one bag."""

    def __init__(self, plan: BagPlan, questions: Sequence[Question], folder: Path):
        self._plan, self._questions = plan, list(questions)
        self.unmatched: Dict[int, str] = {}       # questions without any, and why
        self._files: Dict[Path, List[dict]] = {}
        self._stamped: Dict[int, Timeline] = {}   # by the stamps of images
        self._received: Dict[int, Timeline] = {}  # by when they were received
        topics = [(number, question) for number, question in enumerate(questions)
                  if 'topic' in (question.truth or {})]
        if topics:
            self._read_topics(plan, topics)
        for number, question in enumerate(questions):
            if 'labels' in (question.truth or {}):
                self._read_labels(plan, number, question, folder)

    def of(self, question: int, stamp_ns: int, log_ns: int) -> Any:
        """Return the truth for an answer about an image, or None where there is none."""
        truth = self._questions[question].truth or {}
        if 'constant' in truth:
            return truth['constant']
        for timelines, ns in ((self._stamped, stamp_ns), (self._received, log_ns)):
            if question in timelines:
                value = timelines[question].at(ns)
                if value is not None:
                    return value
        return None

    def digest(self) -> str:
        """Return a digest of the truths of label files and topics."""
        return digest(canonical([
            (number, timeline.values()) for timelines in (self._stamped, self._received)
            for number, timeline in timelines.items()]))

    def check_usable(self) -> None:
        """Raise what scoring would raise, for each truth that an answer may meet."""
        index = self._plan.index
        # Any frame of a window is its newest where those after it cannot be decoded.
        met = {(ask.question, frame) for ask in self._plan.asks for frame in ask.frames}
        truths = {}
        for number, frame in sorted(met):
            truth = self.of(number, int(index.stamp_ns[frame]), int(index.log_ns[frame]))
            if truth is not None:
                truths[number, canonical(truth)] = truth
        for (number, text), truth in truths.items():
            score(self._questions[number].as_dict(), '', text, truth)

    def _read_labels(self, plan: BagPlan, number: int, question: Question, folder: Path) -> None:
        path, field = folder / question.truth['labels'], question.truth['field']
        stamped: List[Span] = []
        received: List[Span] = []
        if path not in self._files:
            self._files[path] = read_labels(path)
        for line, entry in enumerate(self._files[path], 1):
            if entry.get('bag', plan.name) != plan.name or field not in entry:
                continue
            if 'start_ns' in entry:
                stamped.append(Span(entry['start_ns'], entry['end_ns'], line, entry[field]))
            else:
                start, end = (plan.start_ns + round(entry[key] * SECOND)
                              for key in ('start', 'end'))
                received.append(Span(start, end, line, entry[field]))
        self._stamped[number] = Timeline(stamped, str(path))
        self._received[number] = Timeline(received, str(path))
        self._check(plan, number, question, path, bool(stamped or received))

    def _check(self, plan: BagPlan, number: int, question: Question, path: Path,
               any_lines: bool) -> None:
        index, field = plan.index, question.truth['field']
        asked = [max(ask.frames) for ask in plan.asks if ask.question == number]
        if not asked or any(self.of(number, int(index.stamp_ns[n]), int(index.log_ns[n]))
                            is not None for n in asked):
            return
        self.unmatched[number] = (
            f'No label in {path} with the field {field!r} matches an image that question '
            f'{question.id!r} is asked about in the bag {plan.name!r}: its images are stamped '
            f'{index.stamp_ns[asked[0]]} to {index.stamp_ns[asked[-1]]} ns. Label the times of '
            'this bag.') if any_lines else (
            f'{path} has no line with the field {field!r} for the bag {plan.name!r}, which '
            f'question {question.id!r} takes its truth from. Check the name of the field and '
            'the `bag` of the lines.')

    def _read_topics(self, plan: BagPlan, topics) -> None:
        spans: Dict[int, List[Span]] = {number: [] for number, _ in topics}
        with Bag(plan.path, plan.name) as bag:
            for _, question in topics:
                bag.require(question.truth['topic'], images=False)
            names = list(dict.fromkeys(question.truth['topic'] for _, question in topics))
            for count, record in enumerate(bag.messages(names)):
                message = bag.deserialize(record)
                for number, question in topics:
                    if question.truth['topic'] == record.topic:
                        value = _field(message, question, record.msgtype)
                        spans[number].append(Span(record.log_ns, 0, count, value))
        for number, question in topics:
            held = spans[number]
            # A value holds until the next message; of those received at once the last counts.
            ends = [span.start_ns for span in held[1:]] + [plan.end_ns + 1]
            self._received[number] = Timeline(
                [span._replace(end_ns=end) for span, end in zip(held, ends)
                 if end > span.start_ns], question.truth['topic'])


def check_labels(truths: Sequence[Truths]) -> List[str]:
    """Return sentences about bags without labels; raise where no bag has any for a question."""
    for number, sentence in truths[0].unmatched.items():
        if all(number in each.unmatched for each in truths):
            raise bad(sentence)
    return [sentence for each in truths for sentence in each.unmatched.values()]


def read_labels(path: Path) -> List[dict]:
    """Return the lines of a label file, checked. Raises NanoVlmError(INVALID_REQUEST)."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise bad(f'The label file {path} cannot be read: {error}.') from error
    labels = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise bad(f'{path}, line {number}: this is not JSON: {error}.') from error
        ranges = [r for r in RANGES if isinstance(entry, dict) and all(
            isinstance(entry.get(key), (int, float)) and math.isfinite(entry[key]) for key in r)]
        if len(ranges) != 1:
            raise bad(f'{path}, line {number}: a label needs either `start_ns` and `end_ns` or '
                      '`start` and `end` as numbers.')
        start, end = (entry[key] for key in ranges[0])
        if not start < end:
            raise bad(f'{path}, line {number}: the range from {start} to {end} is empty; the end '
                      'must come after the start.')
        labels.append(entry)
    return labels


def _field(message, question: Question, msgtype: str) -> Any:
    """Follow a dotted path (names, and numbers into lists) and return a JSON value."""
    value = message
    for name in question.truth['field'].split('.'):
        try:
            value = value[int(name)] if name.isdigit() else getattr(value, name)
        except (AttributeError, IndexError, TypeError) as error:
            fields = ', '.join(getattr(value, '__dataclass_fields__', {})) or 'none'
            raise bad(f'Question {question.id!r}: messages on {question.truth["topic"]} '
                      f'({msgtype}) have no {question.truth["field"]!r}; at {name!r} the fields '
                      f'are: {fields}.') from error
    value = value.tolist() if hasattr(value, 'tolist') else value
    if question.score == 'json' and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError as error:
            raise bad(f'Question {question.id!r}: a message on {question.truth["topic"]} holds '
                      f'{value[:60]!r}, which is not JSON.') from error
    if not all(isinstance(part, (str, int, float, bool))
               for part in (value if isinstance(value, list) else [value])):
        raise bad(f'Question {question.id!r}: {question.truth["field"]!r} of {msgtype} is a '
                  f'{type(value).__name__}; name one of its fields, as in "pose.position.x".')
    return value
