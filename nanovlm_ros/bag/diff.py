# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare the results of two runs: what got better, what got worse; for people and for CI.

Exit code 0: no score fell; 1: a score of B lies below A's by more than chance explains;
2: the two cannot be compared, or the page not written.
"""
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from nanovlm_ros.bag import bootstrap, catalog
from nanovlm_ros.bag.metrics import Metric, Sums, f1, metric, ratio, scores
from nanovlm_ros.bag.result_folder import Results, read_results
from nanovlm_ros.types import ErrorCode, NanoVlmError

OVERALL = 'all questions'


@dataclass(frozen=True)
class Pair:
    """The rows of both runs about the same images, with their scores."""

    a: dict
    b: dict
    score_a: dict
    score_b: dict

    @property
    def key(self) -> Tuple[str, int]:
        """Bag and stamp: what is drawn together by the bootstrap."""
        return self.a['bag'], self.a['stamp_ns']


@dataclass(frozen=True)
class Change:
    """One score in A and in B, over the rows that both have."""

    question: str
    name: str
    a: float
    b: float
    difference: Metric  # B - A

    @property
    def verdict(self) -> str:
        """'worse' or 'better' if the interval of the difference leaves out 0, else 'same'."""
        low, high = self.difference['low'], self.difference['high']
        if low is None:
            return 'same'
        if catalog.entry(self.name).better < 0:
            low, high = -high, -low
        return 'worse' if high < 0 else 'better' if low > 0 else 'same'


@dataclass
class Comparison:
    """Everything that is known about the difference of two runs."""

    a: Results
    b: Results
    pairs: Dict[str, List[Pair]] = field(default_factory=dict)   # by question
    changes: List[Change] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)               # what was left out, and why


def add_arguments(parser) -> None:
    """Add the two folders and where the page goes."""
    parser.add_argument('a', type=Path, metavar='A', help='folder of the run to compare with')
    parser.add_argument('b', type=Path, metavar='B', help='folder of the new run')
    parser.add_argument('--html', type=Path, metavar='FILE',
                        help='write the page here (default: diff.html in B)')


def run(arguments) -> int:
    """Print the table, write the page, return the exit code."""
    from nanovlm_ros.bag.diff_report import write_page

    page = arguments.html or arguments.b / 'diff.html'
    try:
        comparison = compare(read_results(arguments.a), read_results(arguments.b))
        write_page(comparison, page)
    except NanoVlmError as error:
        print(f'nanovlm: {error.message}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'nanovlm: {page} cannot be written: {error.strerror or error}. Make room, or give '
              'another place by --html.', file=sys.stderr)
        return 2
    for note in comparison.notes:
        print(note)
    print(terminal_table(comparison))
    print(f'Pictures: {page}')
    worse = [change for change in comparison.changes if change.verdict == 'worse']
    if worse:
        print('Worse by more than chance: ' + ', '.join(
            f'{change.question} ({catalog.entry(change.name).title})' for change in worse) + '.')
    return 1 if worse else 0


def compare(a: Results, b: Results) -> Comparison:
    """Pair the rows and compare the scores. Raises NanoVlmError: nothing to compare."""
    for results in (a, b):
        planned = results.run.get('planned_rows')  # a replay has no plan
        if planned is not None and len(results.rows) < planned:
            raise _incomparable(f'{results.folder} has {len(results.rows)} of {planned} rows; '
                                'its run was stopped, and the same `nanovlm eval run` goes on')
    found = Comparison(a, b)
    bags = [{bag['name'] for bag in results.run['bags']} for results in (a, b)]
    if not bags[0] & bags[1]:
        raise _incomparable(f'{a.folder} is about the bags {_names(bags[0])}, {b.folder} about '
                            f'{_names(bags[1])}; evaluate the same bags')
    _note_missing(found, 'bag', *bags)
    shared = [name for name in a.questions if name in b.questions]
    if not shared:
        raise _incomparable(f'{a.folder} asks {_names(a.questions)}, {b.folder} asks '
                            f'{_names(b.questions)}; give the same ids to the same questions')
    _note_missing(found, 'question', set(a.questions), set(b.questions))
    for name in shared:
        kinds = [results.questions[name]['score'] for results in (a, b)]
        if kinds[0] != kinds[1]:
            found.notes.append(f'The question {name} is left out: A scores it as {kinds[0]}, '
                               f'B as {kinds[1]}.')
            continue
        pairs = _pair(found, name)
        if pairs:
            found.pairs[name] = pairs
    if not found.pairs:
        raise _incomparable('no row of one has the same question, stamp and truth as a row of the '
                            'other; evaluate the same images with the same labels')
    everything = sorted((p for pairs in found.pairs.values() for p in pairs), key=lambda p: p.key)
    found.changes.append(_share(OVERALL, 'accuracy', everything, _right))
    for name, pairs in found.pairs.items():
        found.changes += _changes(name, a.questions[name]['score'], pairs)
    return found


def _incomparable(why: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, f'These runs cannot be compared: {why}.')


def _names(names) -> str:
    return ', '.join(sorted(names)) or 'none'


def _note_missing(found: Comparison, what: str, a: set, b: set) -> None:
    for side, only in (('A', a - b), ('B', b - a)):
        if only:
            found.notes.append(f'Only {side} has the {what}{"s" if len(only) > 1 else ""} '
                               f'{_names(only)}; left out.')


def _pair(found: Comparison, name: str) -> List[Pair]:
    """Return the rows of a question that both runs have and judge by the same truth."""
    def by_image(results):
        rows = results.rows_of(name)
        return {(row['bag'], row['stamp_ns'], row['log_ns'], row['camera'], row['phrasing']):
                (row, score)
                for row, score in zip(rows, scores(results.questions[name], rows)) if score}

    a, b = by_image(found.a), by_image(found.b)
    pairs, relabelled = [], 0
    for key in sorted(a.keys() & b.keys()):
        (row_a, score_a), (row_b, score_b) = a[key], b[key]
        if row_a['truth'] != row_b['truth']:
            relabelled += 1
            continue
        pairs.append(Pair(row_a, row_b, score_a, score_b))
    if relabelled:
        found.notes.append(f'{name}: {relabelled} rows are left out, whose truth differs between '
                           'the runs.')
    alone = len(a.keys() ^ b.keys())
    if alone:
        found.notes.append(f'{name}: {alone} rows are left out, which only one run has.')
    return pairs


def _right(_row: dict, score: dict) -> float:
    return float(score['correct'])


def _changes(name: str, kind: str, pairs: Sequence[Pair]) -> List[Change]:
    found = [_share(name, 'accuracy', pairs, _right)]
    if kind == 'yes_no':
        found.append(_f1(name, pairs))
    if kind == 'json':
        found.append(_share(name, 'json_valid', pairs,
                            lambda row, _score: float(row['json_status'] == 'VALID')))
        found += [_share(name, f'field_{field}', pairs,
                         lambda _row, score, f=field: float(score['fields'][f]))
                  for field in _common_fields(pairs)]
    if kind == 'text_distance':
        found.append(_share(name, 'similarity', pairs, lambda _row, score: score['similarity']))
    if kind == 'number':
        read = [p for p in pairs if None not in (p.score_a['error'], p.score_b['error'])]
        if read:
            found.append(_share(name, 'mean_absolute_error', read,
                                lambda _row, score: score['error']))
    return found


def _common_fields(pairs: Sequence[Pair]) -> List[str]:
    """Return the JSON fields that the truth has in every pair."""
    return sorted(set.intersection(*(set(p.score_a['fields']) for p in pairs)))


def _share(question: str, name: str, pairs: Sequence[Pair], value) -> Change:
    """Return the change of a mean; both runs are resampled at the same stamps."""
    a = np.array([value(p.a, p.score_a) for p in pairs])
    b = np.array([value(p.b, p.score_b) for p in pairs])
    sums = Sums([p.key for p in pairs], [b - a, np.ones(len(pairs))])
    return Change(question, name, float(a.mean()), float(b.mean()), sums.metric(ratio(0, 1)))


def _f1(question: str, pairs: Sequence[Pair]) -> Change:
    columns = []
    for side in ('score_a', 'score_b'):
        said = np.array([getattr(p, side)['said'] == 'yes' for p in pairs])
        true = np.array([getattr(p, side)['expected'] == 'yes' for p in pairs])
        columns += [said & true, said & ~true, true & ~said]
    keys = [p.key for p in pairs]
    both = Sums(keys, columns)
    change = Sums(keys, [[p.score_b['correct'] - p.score_a['correct'] for p in pairs]]).units
    interval = bootstrap.of_sums(
        both.units, lambda sums: f1(sums[:, 3:]) - f1(sums[:, :3]),
        length=bootstrap.block_length(change[:, 0]))
    a, b = float(f1(both.total[None, :3])[0]), float(f1(both.total[None, 3:])[0])
    return Change(question, 'f1', a, b, metric(b - a, interval, len(pairs)))


def terminal_table(comparison: Comparison) -> str:
    """Return the changes as lines of text."""
    lines = [('question', 'score', 'A', 'B', 'B - A', '95 % interval', 'n', '')]
    for change in comparison.changes:
        shown = catalog.entry(change.name)
        lines.append((change.question, shown.title, catalog.number(change.a, shown.unit),
                      catalog.number(change.b, shown.unit),
                      catalog.signed(change.difference['value'], shown.unit),
                      catalog.interval(change.difference, shown.unit, signed_ends=True),
                      str(change.difference['n']),
                      '' if change.verdict == 'same' else change.verdict))
    return catalog.columns(lines, left=(0, 1, 7))
