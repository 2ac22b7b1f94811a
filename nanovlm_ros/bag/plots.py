# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Plots as inline SVG; colours are CSS classes, so that they follow dark mode and print."""
from html import escape
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

WIDTH, LEFT, RIGHT = 960, 92, 12  # units of the drawing
LANE, GAP, AXIS = 16, 5, 26
_BINS = 560       # most steps of a timeline
_BARS = 48        # of a histogram
PALETTE = 8       # colours c0 ... c7 of the page


def figure(height: float, body: Sequence[str], title: str) -> str:
    """Return a drawing; `title` is what a screen reader says."""
    return (f'<div class="plot"><svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{escape(title)}">{"".join(body)}</svg></div>')


def rect(x: float, y: float, width: float, height: float, style: str, tip: str = '') -> str:
    """Return a rectangle, with a tip to point at."""
    inside = f'<title>{escape(tip)}</title>' if tip else ''
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.6):.1f}" '
            f'height="{max(height, 0):.1f}" class="{style}">{inside}</rect>')


def text(x: float, y: float, words: str, style: str = 'tick', anchor: str = 'middle') -> str:
    """Return a line of text."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">'
            f'{escape(words)}</text>')


def line(x1: float, y1: float, x2: float, y2: float, style: str = 'grid') -> str:
    """Return a line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def ticks(low: float, high: float, count: int = 8) -> List[float]:
    """Return round numbers between two values, at most about `count`."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    scale = 10 ** np.floor(np.log10(raw))
    step = next(s for s in (1, 2, 5, 10) if s * scale >= raw * 0.999) * scale
    first = np.ceil(low / step - 1e-9)
    # + 0.0: no minus zero
    return [float(step * k) + 0.0 for k in np.arange(first, np.floor(high / step + 1e-9) + 1)]


class Scale:
    """Values along the width of a drawing."""

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high if high > low else low + 1

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def axis(self, y: float, unit: str) -> List[str]:
        """Return ticks below `y`."""
        marks = ticks(self.low, self.high)
        return [line(LEFT, y, WIDTH - RIGHT, y, 'axis')] + [
            part for mark in marks for part in (
                line(self(mark), y, self(mark), y + 4, 'axis'),
                text(self(mark), y + 17, f'{mark:g} {unit}' if mark == marks[-1] else f'{mark:g}',
                     anchor='end' if self(mark) > WIDTH - 40 else 'middle'))]


def _runs(values: Sequence, edges: np.ndarray):
    """Yield (value, first edge, last edge) of each run of equal values that are not None."""
    begin = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[begin]:
            if values[begin] is not None:
                yield values[begin], edges[begin], edges[i]
            begin = i


def _steps(seconds: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return (step of each moment, edges of the steps): a step a moment, or more in one."""
    stamps = np.unique(seconds)
    usual = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0
    count = int(np.clip(round((stamps[-1] - stamps[0]) / usual) + 1, 1, _BINS))
    edges = np.linspace(stamps[0], stamps[-1] + usual, count + 1)
    place = np.floor((seconds - edges[0]) / (edges[-1] - edges[0]) * count + 1e-6)
    return np.clip(place.astype(int), 0, count - 1), edges


def strips(seconds: Sequence[float], lanes: Dict[str, Sequence[Optional[str]]],
           colours: Dict[str, str], bars: Dict[str, Tuple[Sequence[float], str]],
           title: str) -> str:
    """Draw labels over time, a lane each, and below them how many moments were so and so.

    Lanes hold a label (or None) for each of `seconds`; `colours` gives their classes.
    `bars` hold (1 or 0 for each of `seconds`, class). Where several moments share a step,
    the commonest label is drawn, and a bar as high as the share of ones.
    """
    if not len(seconds):
        return ''
    place, edges = _steps(np.asarray(seconds, np.float64))
    scale, body, y = Scale(edges[0], edges[-1]), [], 4.0
    for name, lane in lanes.items():
        body.append(text(LEFT - 8, y + LANE - 4, name, 'lane', 'end'))
        for label, begin, end in _runs(_commonest(place, lane, len(edges) - 1), edges):
            body.append(rect(scale(begin), y, scale(end) - scale(begin), LANE,
                             colours.get(label, 'other'),
                             f'{label}, {begin:.1f} to {end:.1f} s'))
        y += LANE + GAP
    counts = np.maximum(np.bincount(place, minlength=len(edges) - 1), 1)
    for name, (values, style) in bars.items():
        y += LANE + 4
        body.append(text(LEFT - 8, y - 2, name, 'lane', 'end'))
        sums = np.bincount(place, np.asarray(values, np.float64), len(edges) - 1)
        shares = np.round(sums / counts, 2)
        for share, begin, end in _runs([s or None for s in shares.tolist()], edges):
            high = share * (LANE + 2)
            body.append(rect(scale(begin), y - high, scale(end) - scale(begin), high, style,
                             f'{100 * share:.0f} % {name}, {begin:.1f} to {end:.1f} s'))
        body.append(line(LEFT, y, WIDTH - RIGHT, y))
    return figure(y + 1 + AXIS, body + scale.axis(y + 1, 's'), title)


def _commonest(place: np.ndarray, lane: Sequence[Optional[str]], count: int) -> list:
    names = sorted({label for label in lane if label is not None})
    votes = np.zeros((len(names) + 1, count))
    votes[0] = 0.5  # nothing at all
    for step, label in zip(place, lane):
        if label is not None:
            votes[1 + names.index(label), step] += 1
    return [[None, *names][i] for i in votes.argmax(axis=0)]


def points(seconds: Sequence[float], said: Sequence[Optional[float]],
           truth: Sequence[Optional[float]], correct: Sequence[bool], title: str) -> str:
    """Draw numbers over time: the truth as a line, answers as dots, red where it is known
    and they are not `correct`."""
    known = [v for v in (*said, *truth) if v is not None]
    if not known:
        return ''
    high, low, height = max(known), min(0.0, *known), 120
    stamps = np.asarray(seconds, np.float64)
    scale = Scale(float(stamps.min()), float(stamps.max()))

    def up(value):
        return 8 + height * (1 - (value - low) / ((high - low) or 1))

    body = [part for mark in ticks(low, high, 4) for part in (
        line(LEFT, up(mark), WIDTH - RIGHT, up(mark)),
        text(LEFT - 8, up(mark) + 4, f'{mark:g}', anchor='end'))]
    order = np.argsort(stamps, kind='stable')
    body.append(_path([(scale(stamps[i]), up(truth[i])) for i in order if truth[i] is not None]))
    seen = set()
    for i in order:
        if said[i] is None:
            continue
        bad = truth[i] is not None and not correct[i]
        spot = (round(scale(stamps[i])), round(up(said[i])), bad)
        if spot not in seen:
            seen.add(spot)
            body.append(f'<circle cx="{spot[0]}" cy="{spot[1]}" r="{3.2 if bad else 2.2}" '
                        f'class="{"bad" if bad else "c0"}"/>')
    return figure(height + 16 + AXIS, body + scale.axis(height + 14, 's'), title)


def _path(spots: Sequence[Tuple[float, float]]) -> str:
    """Return a line in steps through some points; those that repeat a height are left out."""
    kept = [spot for i, spot in enumerate(spots)
            if i in (0, len(spots) - 1) or spot[1] != spots[i - 1][1]]
    if not kept:
        return ''
    parts = [f'M{kept[0][0]:.1f} {kept[0][1]:.1f}']
    parts += [f'H{x:.1f}V{y:.1f}' for x, y in kept[1:]]
    return f'<path d="{"".join(parts)}" class="truth"/>'


def histogram(values: Sequence[float], marks: Dict[str, float], unit: str, title: str) -> str:
    """Draw how values are spread, with named marks; what is beyond the 99.5th percentile
    is counted in the last bar."""
    series = np.asarray(values, np.float64)
    top = float(max(np.percentile(series, 99.5), max(marks.values(), default=0.0))) or 1.0
    counts, edges = np.histogram(np.minimum(series, top), _BARS, (0.0, top * 1.0001))
    rows = 13 * len(marks)  # of names, one a line: they often lie close together
    height, scale, base = 100, Scale(0.0, top), 108 + rows
    body = []
    for count, begin, end in zip(counts, edges, edges[1:]):
        if count:
            high = max(1.0, height * count / counts.max())
            body.append(rect(scale(begin) + 0.5, base - high, scale(end) - scale(begin) - 1, high,
                             'c0', f'{count} between {begin:.4g} and {end:.4g} {unit}'))
    for place, (name, value) in enumerate(sorted(marks.items(), key=lambda m: m[1])):
        x, y = scale(value), 11 + 13 * place
        body.append(line(x, y + 3, x, base, 'mark'))
        body.append(text(x, y, f'{name} {value:.3g} {unit}', 'tick',
                         'end' if x > WIDTH - 80 else 'middle'))
    body.append(text(LEFT - 8, base - height + 8, f'{counts.max()}', anchor='end'))
    return figure(base + AXIS, body + scale.axis(base, unit), title)


def stacked(seconds: Sequence[float], kinds: Sequence[str], order: Sequence[str],
            colours: Dict[str, str], title: str) -> str:
    """Draw how many of each kind there were over time, stacked."""
    stamps = np.asarray(seconds, np.float64)
    high = float(stamps.max()) if stamps.max() > stamps.min() else float(stamps.min()) + 1
    edges = np.linspace(float(stamps.min()), high, _BARS + 1)
    tables = [np.histogram(stamps[np.array([k == kind for k in kinds])], edges)[0]
              for kind in order]
    most = int(np.sum(tables, axis=0).max())
    height, base, scale = 90, 100, Scale(edges[0], edges[-1])
    body, foot = [text(LEFT - 8, 14, f'{most}', anchor='end')], np.zeros(_BARS)
    for kind, table in zip(order, tables):
        for i, count in enumerate(table):
            if count:
                tall = height * count / most
                body.append(rect(
                    scale(edges[i]) + 0.5, base - foot[i] - tall,
                    scale(edges[i + 1]) - scale(edges[i]) - 1, tall, colours[kind],
                    f'{count} {kind}, {edges[i]:.1f} to {edges[i + 1]:.1f} s'))
                foot[i] += tall
    return figure(base + AXIS, body + scale.axis(base, 's'), title)


def gauge(metric: dict) -> str:
    """Draw a share as a bar with its interval, to stand in a table."""
    if metric['value'] is None:
        return ''
    body = [rect(0, 4, 120, 6, 'track'), rect(0, 4, 120 * metric['value'], 6, 'c0')]
    if metric['low'] is not None:
        low, high = 120 * metric['low'], 120 * metric['high']
        body += [line(low, 7, high, 7, 'whisker'), line(low, 2, low, 12, 'whisker'),
                 line(high, 2, high, 12, 'whisker')]
    return ('<svg class="gauge" viewBox="-1 0 122 14" aria-hidden="true">'
            + ''.join(body) + '</svg>')
