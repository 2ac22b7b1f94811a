# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How metrics are called and written; their definitions are in docs/metrics.md."""
from typing import Dict, NamedTuple, Optional, Sequence


class Entry(NamedTuple):
    """How one metric is shown."""

    title: str
    unit: str     # share, s, or what follows the number
    better: int   # 1: more is better, -1: less is better, 0: neither


METRICS: Dict[str, Entry] = {
    'accuracy': Entry('right', 'share', 1),
    'exact_match': Entry('exact match', 'share', 1),
    'normalised_match': Entry('normalised match', 'share', 1),
    'precision': Entry('precision of yes', 'share', 1),
    'recall': Entry('recall of yes', 'share', 1),
    'f1': Entry('F1 of yes', 'share', 1),
    'exact_share': Entry('exact number', 'share', 1),
    'number_read': Entry('a number was said', 'share', 1),
    'mean_absolute_error': Entry('mean absolute error', '', -1),
    'json_valid': Entry('valid JSON', 'share', 1),
    'fields': Entry('fields right', 'share', 1),
    'edit_distance': Entry('edit distance', 'edits', -1),
    'similarity': Entry('similarity', 'share', 1),
    'flip_rate': Entry('answer flips', 'share', 0),
    'truth_flip_rate': Entry('truth flips', 'share', 0),
    'spurious_flip_rate': Entry('flips while the truth stays', 'share', -1),
    'onsets_noticed': Entry('onsets noticed', 'share', 1),
    'onset_delay_s': Entry('onset delay', 's', -1),
    'onset_reaction_s': Entry('onset to answer', 's', -1),
    'dropped_share': Entry('dropped', 'share', -1),
    'tokens_per_second': Entry('tokens per second', '1/s', 1),
    'answers_per_second': Entry('answers per second', '1/s', 1),
    'real_time_factor': Entry('real-time factor', '', -1),
    'engine_idle_share': Entry('engine without work', 'share', -1),
    'peak_memory_mib': Entry('peak memory', 'MiB', -1),
}
TIMES = {
    'first_token_s': 'first token', 'total_s': 'answer', 'queued_s': 'queued',
    'preprocess_s': 'preprocessing',
    'vision_s': 'vision', 'prefill_s': 'prefill', 'decode_s': 'decode',
    'age_s': 'age of the picture at the answer',
}


def entry(name: str) -> Entry:
    """Return how a metric is shown; accuracies of JSON fields are named by their field."""
    if name.startswith('field_'):
        return Entry(f'field {name.removeprefix("field_")}', 'share', 1)
    return METRICS[name]


def number(value: Optional[float], unit: str) -> str:
    """Return a value with its unit: shares in percent, times below 10 s in ms."""
    if value is None:
        return '–'
    if unit == 'share':
        return f'{100 * value:.1f} %'
    if unit == 's':
        digits = 0 if abs(value) >= 0.00995 or not value else 1
        return f'{1000 * value:.{digits}f} ms' if abs(value) < 9.9995 else f'{value:.1f} s'
    text = f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'
    return f'{text} {unit}'.rstrip()


def signed(value: Optional[float], unit: str) -> str:
    """Return a difference with its sign; that of shares is in percentage points."""
    text = number(value, unit).replace('%', 'pp')
    if value is None or not text.strip('-').strip('0. pms'):
        return text.lstrip('-')
    return text if value < 0 else f'+{text}'


def interval(metric: dict, unit: str, signed_ends: bool = False) -> str:
    """Return the interval of a metric as text; empty where there is none."""
    if metric['low'] is None:
        return ''
    written = signed if signed_ends else number
    low, high = written(metric['low'], unit), written(metric['high'], unit)
    (bare, *its), (_, *other) = low.split(' ', 1), high.split(' ', 1)
    return f'{bare if its == other else low} to {high}'


def columns(lines: Sequence[Sequence[str]], left: Sequence[int] = (0, 1)) -> str:
    """Return lines of cells as text in columns; those in `left` are set to the left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join('  '.join(
        cell.ljust(width) if i in left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)
