# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How fast the answers came, how old their pictures were, what was dropped."""
from collections import Counter
from typing import Dict, Optional, Sequence

import numpy as np

from nanovlm_ros.bag import bootstrap
from nanovlm_ros.bag.metrics import Metric, Sums, metric, ratio
from nanovlm_ros.types import ErrorCode

PERCENTS = (50, 95, 99)
TIMES = ('first_token_s', 'total_s', 'queued_s', 'preprocess_s', 'vision_s', 'prefill_s',
         'decode_s', 'age_s')
SECOND = 1_000_000_000  # ns


def summarise_system(rows: Sequence[dict], dropped: Sequence[dict], run: dict,
                     measured: Optional[dict] = None) -> dict:
    """Return {'times': {name: {'p50', ...}}, 'metrics', 'dropped'}.

    `measured` is what the run says of itself (`measured.Measured`). What was not measured is
    absent.
    """
    rows = sorted(rows, key=lambda r: (r['bag'], r['stamp_ns'], r['question'], r['phrasing']))
    answered = [row for row in rows if not row['error_code']]
    return {'times': times(answered),
            'metrics': {**_rates(answered), **_run(len(rows), run, measured)},
            'dropped': drops(rows, dropped) if run.get('mode') == 'replay' else None}


def times(rows: Sequence[dict]) -> Dict[str, Dict[str, Metric]]:
    """Return percentiles of each time that was measured, in s, over answers without error."""
    found = {}
    for name in TIMES:
        series = np.array([row['measured'][name] for row in rows
                           if row['measured'].get(name) is not None], np.float64)
        if len(series):
            intervals = bootstrap.of_percentiles(series, PERCENTS)
            values = np.percentile(series, PERCENTS)
            found[name] = {f'p{p}': metric(value, interval, len(series))
                           for p, value, interval in zip(PERCENTS, values, intervals)}
    return found


def _rates(rows: Sequence[dict]) -> Dict[str, Metric]:
    """Return tokens per second of decoding: the first token is the prefill's."""
    some = [row for row in rows if row['measured'].get('decode_s')
            and row['completion_tokens'] > 1]
    if not some:
        return {}
    keys = [(row['bag'], row['stamp_ns']) for row in some]
    return {'tokens_per_second': Sums(keys, [
        [row['completion_tokens'] - 1 for row in some],
        [row['measured']['decode_s'] for row in some]]).metric(ratio(0, 1))}


def _run(rows: int, run: dict, measured: Optional[dict]) -> Dict[str, Metric]:
    """Return what only the whole run has: one number each, without an interval."""
    found = {}
    measured = measured or {}
    wall = measured.get('wall_s')
    recorded = recorded_seconds(run)
    if wall:
        # Those of the last moments before a kill were not timed, and took as long as others.
        rate = measured['rows'] / wall
        found['answers_per_second'] = metric(rate, None, measured['rows'])
        if recorded > 0:
            found['real_time_factor'] = metric(rows / rate / recorded, None, 1)
    if wall and measured.get('engine_idle_s') is not None:
        found['engine_idle_share'] = metric(measured['engine_idle_s'] / wall, None, 1)
    if measured.get('peak_memory_mib'):
        found['peak_memory_mib'] = metric(measured['peak_memory_mib'], None, 1)
    return found


def recorded_seconds(run: dict) -> float:
    """Return how much of the bags was looked at, in s."""
    sampling = run.get('sampling') or {}
    start, end = sampling.get('start_s') or 0.0, sampling.get('end_s')
    total = 0.0
    for bag in run['bags']:
        length = (bag['end_ns'] - bag['start_ns']) / SECOND
        total += max(0.0, (length if end is None else min(length, end)) - start)
    return total


def drops(rows: Sequence[dict], dropped: Sequence[dict]) -> dict:
    """Return counts by reason and question, and the share of due frames that were dropped.

    A question asked at a frame counts once, whatever its phrasings.
    """
    def due_at(entry):
        return tuple(entry[name] for name in ('bag', 'stamp_ns', 'log_ns', 'camera', 'question'))

    asked = set(map(due_at, rows))
    missed = {due_at(drop): drop['reason'] for drop in dropped}
    due = sorted({*asked, *missed})
    keys = [key[:2] for key in due]
    reasons = Counter(missed.values())
    result = {'due': len(due), 'answered': len(asked), 'dropped': len(missed),
              'reasons': dict(sorted(reasons.items())),
              'stale_answers': sum(r['error_code'] == ErrorCode.STALE_IMAGE for r in rows),
              'questions': dict(sorted(Counter(key[-1] for key in missed).items())),
              'metrics': {}}
    if due:
        result['metrics']['dropped_share'] = Sums(
            keys, [[key in missed for key in due], [1] * len(due)]
        ).metric(ratio(0, 1), share=True)
    return result
