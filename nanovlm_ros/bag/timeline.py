# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers over time: how often they flip, how late they notice an event.

A series is the rows of one question in one bag, from one camera, in one phrasing, in
the order of time; nothing is compared across series.
"""
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from nanovlm_ros.bag import labels

SECOND = 1_000_000_000  # ns


@dataclass(frozen=True)
class Moment:
    """What was said at a stamp, and what was true (None: not known)."""

    bag: str
    stamp_ns: int
    said: str
    truth: Optional[str]
    age_s: Optional[float]  # of the picture when the answer came (replay)


@dataclass(frozen=True)
class Onset:
    """An event that begins in the truth, and the first answer that shows it."""

    bag: str
    stamp_ns: int
    delay_s: Optional[float]     # in stamps: onset to the first picture that was answered so
    reaction_s: Optional[float]  # onset to that answer's arrival; None without replay


def series(question: dict, rows: Sequence[dict]) -> List[List[Moment]]:
    """Return the rows of a question as series, each in the order of the bag's clock."""
    found: Dict[Tuple, List[Moment]] = {}
    for row in sorted(rows, key=lambda r: (r['log_ns'], r['stamp_ns'])):
        truth = None if row['truth'] is None else labels.label(question, _first(question, row))
        found.setdefault((row['bag'], row['camera'], row['phrasing']), []).append(Moment(
            row['bag'], row['stamp_ns'], labels.answer_label(question, row), truth,
            row['measured'].get('age_s')))
    return [found[key] for key in sorted(found)]


def _first(question: dict, row: dict):
    """Return the truth; of alternatives, the first stands for all."""
    truth = row['truth']
    alternatives = isinstance(truth, list) and question['score'] != 'json'
    return truth[0] if alternatives and truth else truth


@dataclass(frozen=True)
class Pair:
    """Two neighbours of a series."""

    bag: str
    stamp_ns: int             # of the later one
    flipped: bool             # the answers differ
    changed: Optional[bool]   # the truths differ; None: one of them is not known


def pairs(moments: Sequence[Moment]) -> List[Pair]:
    """Return every two neighbours of a series."""
    return [Pair(b.bag, b.stamp_ns, a.said != b.said,
                 None if a.truth is None or b.truth is None else a.truth != b.truth)
            for a, b in zip(moments, moments[1:])]


def onsets(question: dict, moments: Sequence[Moment]) -> List[Onset]:
    """Return the events that begin within a series.

    An onset is a stamp whose truth is the event while that of the moment before is known
    and is not. It is noticed by the first answer that shows the event at or after it and
    before the truth ends; else its delay is None: missed.
    """
    event = question['event']
    true = [m.truth is not None and labels.shows(question, m.truth, event) for m in moments]
    found = []
    for i in range(1, len(moments)):
        if not true[i] or true[i - 1] or moments[i - 1].truth is None:
            continue
        end = next((j for j in range(i, len(moments)) if not true[j]), len(moments))
        noticed = next((m for m in moments[i:end]
                        if labels.shows(question, m.said, event)), None)
        begin = moments[i].stamp_ns
        delay = None if noticed is None else (noticed.stamp_ns - begin) / SECOND
        reaction = None
        if noticed is not None and noticed.age_s is not None:
            reaction = delay + noticed.age_s
        found.append(Onset(moments[i].bag, begin, delay, reaction))
    return found


def false_onsets(question: dict, moments: Sequence[Moment]) -> int:
    """Count runs of answers that show the event while the truth never does in the run."""
    count, run = 0, []
    for moment in [*moments, None]:
        if moment is not None and labels.shows(question, moment.said, question['event']):
            run.append(moment)
            continue
        known = [m for m in run if m.truth is not None]
        if known and not any(labels.shows(question, m.truth, question['event']) for m in known):
            count += 1
        run = []
    return count
