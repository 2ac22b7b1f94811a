# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From rows to scores with their intervals; docs/metrics.md has every definition.

A metric is {'value', 'low', 'high', 'n'}: n rows, pairs or events went into it, and the
interval (None where it cannot be had) is that of `bootstrap`. The order of rows does not
matter.
"""
from collections import Counter
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np

from nanovlm_ros.bag import bootstrap, labels, scoring, timeline

Metric = Dict[str, Optional[float]]


def metric(value: float, interval: Optional[bootstrap.Interval], n: int) -> Metric:
    """Return a metric; values that are not finite become None, as JSON has no NaN."""
    low, high = interval or (None, None)
    return {'value': float(value) if np.isfinite(value) else None,
            'low': low, 'high': high, 'n': int(n)}


def scores(question: dict, rows: Sequence[dict]) -> List[Optional[dict]]:
    """Return the score of each row; None without truth. A failed request is a wrong answer."""
    return [row['score'] or (None if row['truth'] is None else {
        **scoring.score(question, '', '', row['truth']), 'correct': False}) for row in rows]


def summarise_question(question: dict, rows: Sequence[dict]) -> dict:
    """Return counts, metrics, the confusion table and events of one question's rows."""
    rows = sorted(rows, key=lambda r: (r['bag'], r['stamp_ns'], r['camera'], r['phrasing']))
    judged = [(row, score) for row, score in zip(rows, scores(question, rows)) if score]
    found = {'score': question['score'], 'rows': len(rows), 'scored': len(judged),
             'errors': sum(bool(row['error_code']) for row in rows),
             'metrics': _answer_metrics(question, rows, judged)}
    if judged and 'expected' in judged[0][1]:
        found['confusion'] = confusion([score for _, score in judged], question['score'])
    found['phrasings'] = _phrasings(question, judged)
    all_series = timeline.series(question, rows)
    found['metrics'].update(_flips([p for one in all_series for p in timeline.pairs(one)]))
    if question['event']:
        found['events'] = _events(question, all_series)
    return found


def confusion(judged: Sequence[dict], kind: str) -> dict:
    """Return {'labels', 'counts'}: a row for each expected label, a column for each said."""
    pairs = Counter((_name(score['expected']), _name(score['said'])) for score in judged)
    names = sorted({name for pair in pairs for name in pair} - {labels.OTHER})
    if kind == 'yes_no':
        names = ['yes', 'no']
    if kind == 'number':
        names.sort(key=float)
    if any(labels.OTHER in pair for pair in pairs):
        names.append(labels.OTHER)
    return {'labels': names, 'counts': [[pairs[e, s] for s in names] for e in names]}


def _name(value) -> str:
    """Return a label: numbers as they are read, 'other' for none."""
    if value is None:
        return labels.OTHER
    return value if isinstance(value, str) else f'{value:g}'


class Sums:
    """Columns summed by (bag, stamp): what is drawn together by the bootstrap."""

    def __init__(self, keys: Sequence, columns: Sequence[Sequence[float]]):
        """`keys` (bag, stamp), sorted, one a row; `columns` k sequences as long."""
        table = np.array(columns, np.float64).T.reshape(len(keys), len(columns))
        first = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
        self.n = len(keys)
        self.units = np.add.reduceat(table, first) if len(keys) else table
        self.total = table.sum(axis=0)

    def metric(self, statistic: Callable[[np.ndarray], np.ndarray], share: bool = False,
               n: Optional[float] = None) -> Metric:
        """Return the metric of a function of sums, (m, k) -> (m,)."""
        value = float(statistic(self.total[None])[0])
        interval = bootstrap.of_sums(self.units, statistic)
        count = self.n if n is None else int(n)
        if share and count:
            interval = bootstrap.widened(interval, value, count)
        return metric(value, interval, count)


def ratio(top: int, bottom: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the statistic that divides one column by another; NaN where that is 0."""
    def divide(sums):
        over = sums[:, bottom]
        return np.divide(sums[:, top], over, out=np.full(len(sums), np.nan), where=over > 0)
    return divide


def f1(sums: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of columns TP, FP, FN."""
    right, all_of_them = 2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]
    return np.divide(right, all_of_them, out=np.full(len(sums), np.nan), where=all_of_them > 0)


def share(keys: Sequence, hits: Sequence[bool]) -> Metric:
    """Return the share of hits."""
    return Sums(keys, [hits, [1] * len(keys)]).metric(ratio(0, 1), share=True)


def mean(keys: Sequence, values: Sequence[float]) -> Metric:
    """Return the mean of values."""
    return Sums(keys, [values, [1] * len(keys)]).metric(ratio(0, 1))


def _keys(judged) -> list:
    return [(row['bag'], row['stamp_ns']) for row, _ in judged]


def _answer_metrics(question: dict, rows: Sequence[dict], judged) -> Dict[str, Metric]:
    found: Dict[str, Metric] = {}
    if question['json_schema'] is not None and rows:
        found['json_valid'] = share([(row['bag'], row['stamp_ns']) for row in rows],
                                    [row['json_status'] == 'VALID' for row in rows])
    if not judged:
        return found
    keys = _keys(judged)
    found['accuracy'] = share(keys, [score['correct'] for _, score in judged])
    if question['score'] not in ('json', 'number'):
        truths = [row['truth'] if isinstance(row['truth'], list) else [row['truth']]
                  for row, _ in judged]
        for name, form in (('exact_match', labels.as_text), ('normalised_match', labels.plain)):
            found[name] = share(keys, [
                not row['error_code'] and form(row['text']) in map(form, truth)
                for (row, _), truth in zip(judged, truths)])
    by_kind = {'yes_no': _yes_no, 'number': _number, 'json': _json,
               'text_distance': _text_distance}.get(question['score'])
    return {**found, **by_kind(keys, [score for _, score in judged])} if by_kind else found


def _yes_no(keys, judged) -> Dict[str, Metric]:
    said = np.array([s['said'] == 'yes' for s in judged])
    expected = np.array([s['expected'] == 'yes' for s in judged])
    hits = said & expected
    return {
        'precision': Sums(keys, [hits, said]).metric(ratio(0, 1), share=True, n=said.sum()),
        'recall': Sums(keys, [hits, expected]).metric(ratio(0, 1), share=True, n=expected.sum()),
        'f1': Sums(keys, [hits, said & ~expected, expected & ~said]).metric(f1)}


def _number(keys, judged) -> Dict[str, Metric]:
    read = [(key, s['error']) for key, s in zip(keys, judged) if s['error'] is not None]
    found = {'exact_share': share(keys, [s['error'] == 0 for s in judged]),
             'number_read': share(keys, [s['error'] is not None for s in judged])}
    if read:
        found['mean_absolute_error'] = mean(*zip(*read))
    return found


def _json(keys, judged) -> Dict[str, Metric]:
    found = {}
    for name in sorted({name for score in judged for name in score['fields']}):
        asked = [(key, s['fields'][name]) for key, s in zip(keys, judged) if name in s['fields']]
        found[f'field_{name}'] = share(*zip(*asked))
    everything = [(key, hit) for key, s in zip(keys, judged) for hit in s['fields'].values()]
    if everything:
        found['fields'] = share(*zip(*everything))
    return found


def _text_distance(keys, judged) -> Dict[str, Metric]:
    return {'edit_distance': mean(keys, [s['distance'] for s in judged]),
            'similarity': mean(keys, [s['similarity'] for s in judged])}


def _phrasings(question: dict, judged) -> List[dict]:
    found = []
    for index, prompt in enumerate(question['phrasings']):
        some = [(row, score) for row, score in judged if row['phrasing'] == index]
        if some:
            found.append({'prompt': prompt, 'accuracy': share(
                _keys(some), [score['correct'] for _, score in some])})
    return found


def _flips(pairs: Sequence[timeline.Pair]) -> Dict[str, Metric]:
    pairs = sorted(pairs, key=lambda p: (p.bag, p.stamp_ns))
    if not pairs:
        return {}
    found = {'flip_rate': share([(p.bag, p.stamp_ns) for p in pairs], [p.flipped for p in pairs])}
    known = [p for p in pairs if p.changed is not None]
    if known:
        found['truth_flip_rate'] = share([(p.bag, p.stamp_ns) for p in known],
                                         [p.changed for p in known])
    still = [p for p in known if not p.changed]
    if still:
        found['spurious_flip_rate'] = share([(p.bag, p.stamp_ns) for p in still],
                                            [p.flipped for p in still])
    return found


def _events(question: dict, all_series) -> dict:
    found = sorted((o for one in all_series for o in timeline.onsets(question, one)),
                   key=lambda o: (o.bag, o.stamp_ns))
    result = {'event': question['event'], 'onsets': len(found),
              'missed': sum(o.delay_s is None for o in found),
              'false_onsets': sum(timeline.false_onsets(question, one) for one in all_series),
              'metrics': {}}
    if found:
        result['metrics']['onsets_noticed'] = share(
            [(o.bag, o.stamp_ns) for o in found], [o.delay_s is not None for o in found])
    for name in ('delay_s', 'reaction_s'):
        seen = [o for o in found if getattr(o, name) is not None]
        if seen:
            result['metrics'][f'onset_{name}'] = mean(
                [(o.bag, o.stamp_ns) for o in seen], [getattr(o, name) for o in seen])
    return result
