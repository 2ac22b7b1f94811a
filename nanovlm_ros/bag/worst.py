# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which answers to show: the worst of each run of wrong ones, the worst runs first."""
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from nanovlm_ros.bag.metrics import scores

SECOND = 1_000_000_000  # ns


@dataclass(frozen=True)
class Run:
    """Neighbouring rows of a series that have something in common, and the one to show."""

    row: dict
    length: int       # stamps
    seconds: float    # from the first stamp to the last
    badness: float


def badness(row: dict, score: dict) -> float:
    """Return how wrong an answer is, 0 for a right one; compares within a question."""
    if score['correct']:
        return 0.0
    if row['error_code']:
        return float('inf')
    if 'similarity' in score:
        return 1.0 - score['similarity']
    if 'valid' in score:
        fields = score['fields'].values()
        return 1.0 if not score['valid'] or not fields else 1 - sum(fields) / len(fields)
    if 'error' in score:
        return float('inf') if score['error'] is None else score['error']
    return 1.0


def runs(rows: Sequence[dict], rate: Callable[[dict], float]) -> List[Run]:
    """Return the runs of neighbours with a positive rate, the highest first, then the longest."""
    def place(row):
        return row['bag'], row['camera'], row['phrasing'], row['log_ns'], row['stamp_ns']

    found, run, before = [], [], None
    for row in sorted(rows, key=place):
        value = rate(row)
        if run and (value <= 0 or place(row)[:3] != before):
            found.append(_close(run))
            run = []
        if value > 0:
            run.append((row, value))
        before = place(row)[:3]
    if run:
        found.append(_close(run))
    return sorted(found, key=lambda r: (-r.badness, -r.length, place(r.row)))


def _close(run: List[Tuple[dict, float]]) -> Run:
    worst = max(value for _, value in run)
    candidates = [row for row, value in run if value == worst]
    return Run(candidates[len(candidates) // 2], len(run),
               (run[-1][0]['stamp_ns'] - run[0][0]['stamp_ns']) / SECOND, worst)


def worst_runs(question: dict, rows: Sequence[dict]) -> List[Run]:
    """Return the runs of wrong answers of a question, the worst first."""
    rated = {id(row): badness(row, score) if score else 0.0
             for row, score in zip(rows, scores(question, rows))}
    return runs(rows, lambda row: rated[id(row)])


def expected(row: dict) -> Optional[str]:
    """Return the truth of a row as a reader would write it."""
    from nanovlm_ros.bag.labels import as_text

    truth = row['truth']
    if isinstance(truth, list) and all(isinstance(t, str) for t in truth):
        return ' / '.join(truth)
    return None if truth is None else as_text(truth)


def said(row: dict) -> str:
    """Return the answer of a row as a reader would write it."""
    if row['error_code']:
        return f'error {row["error_code"]}: {row["error_message"]}'
    return row['json'] or row['text'] or '(nothing)'
