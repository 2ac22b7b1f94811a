# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a page: tables, legends, confusion matrices, cards with pictures."""
from html import escape
from typing import Dict, List, Optional, Sequence

from nanovlm_ros.bag import catalog, plots
from nanovlm_ros.bag.pictures import Pictures, data_uri
from nanovlm_ros.bag.worst import Run, expected, said
from nanovlm_ros.types import NanoVlmError

BUDGET = 8_000_000   # bytes of pictures in a page
_SHOTS = 4           # images of a window that are shown
SECOND = 1_000_000_000  # ns
_MOST_LABELS = 12    # of a confusion matrix


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (),
          wide: bool = False) -> str:
    """Return a table; cells are HTML, `numbers` are the columns that are set to the right."""
    def cell(kind, i, inside):
        style = ' class="n"' if i in numbers else ''
        return f'<{kind}{style}>{inside}</{kind}>'

    lines = ['<tr>' + ''.join(cell('td', i, c) for i, c in enumerate(row)) + '</tr>'
             for row in rows]
    top = ''.join(cell('th', i, escape(c)) for i, c in enumerate(head))
    style = ' class="wide"' if wide else ''
    return (f'<div class="scroll"><table{style}><thead><tr>{top}</tr></thead>'
            f'<tbody>{"".join(lines)}</tbody></table></div>')


def metrics_table(metrics: Dict[str, dict]) -> str:
    """Return values with their intervals, a line each."""
    rows = []
    for name, metric in metrics.items():
        shown = catalog.entry(name)
        rows.append([escape(shown.title), catalog.number(metric['value'], shown.unit),
                     catalog.interval(metric, shown.unit), f'{metric["n"]:,}'])
    return table(['', 'value', '95 % interval', 'n'], rows, (1, 2, 3)) if rows else ''


def matrix(confusion: dict) -> str:
    """Return a confusion matrix; beyond the commonest labels they are joined as 'the rest'."""
    names, counts = _folded(confusion['labels'], confusion['counts'])
    head = ''.join(f'<th>{escape(name)}</th>' for name in names)
    body, off = [], ' class="off"'
    for i, (name, row) in enumerate(zip(names, counts)):
        total = sum(row) or 1
        body.append(f'<tr><th>{escape(name)}</th>' + ''.join(
            f'<td{"" if i == j else off} style="--share:{count / total:.2f}">'
            f'{count or "·"}</td>' for j, count in enumerate(row)) + '</tr>')
    return ('<div class="scroll"><table class="matrix"><tr><th>true \\ said</th>'
            f'{head}</tr>{"".join(body)}</table></div>')


def _folded(names: List[str], counts: List[List[int]]):
    if len(names) <= _MOST_LABELS:
        return names, counts
    weight = [sum(counts[i]) + sum(row[i] for row in counts) for i in range(len(names))]
    kept = sorted(sorted(range(len(names)), key=lambda i: -weight[i])[:_MOST_LABELS])
    rest = [i for i in range(len(names)) if i not in kept]
    groups = [[i] for i in kept] + [rest]
    return ([names[i] for i in kept] + [f'the rest ({len(rest)})'],
            [[sum(counts[i][j] for i in a for j in b) for b in groups] for a in groups])


def legend(colours: Dict[str, str]) -> str:
    """Return what the colours of a plot mean; nothing for no colours."""
    if not colours:
        return ''
    return '<div class="legend">' + ''.join(
        f'<span><svg viewBox="0 0 11 11" aria-hidden="true">'
        f'<rect width="11" height="11" rx="2" class="{style}"/></svg>{escape(name)}</span>'
        for name, style in colours.items()) + '</div>'


class Gallery:
    """Makes cards of rows with their pictures, until the page is full.

    `problem` is the first sentence of why a picture is missing; the report shows it.
    """

    def __init__(self, pictures: Pictures, starts_ns: Dict[str, int]):
        self._pictures = pictures
        self._starts_ns = starts_ns
        self._left = BUDGET
        self.problem: Optional[str] = None

    def cards(self, runs: Sequence[Run], lines=None) -> str:
        """Return a card for each run; `lines` gives its (name, text, style) triples."""
        return '<div class="cards">' + ''.join(
            self._card(run, lines(run.row) if lines else said_and_expected(run.row))
            for run in runs) + '</div>'

    def _card(self, run: Run, lines) -> str:
        row = run.row
        start = self._starts_ns.get(row['bag'], row['log_ns'])
        when = f'{row["bag"]} at {(row["log_ns"] - start) / SECOND:.2f} s'
        if run.length > 1:
            when += f'; {run.length} neighbouring stamps, {run.seconds:.1f} s'
        inside = ''.join(f'<dt>{escape(name)}</dt><dd class="{style}">{escape(words)}</dd>'
                         for name, words, style in lines)
        return (f'<div class="card">{self._shots(row)}<dl>{inside}'
                f'<div class="when">{escape(when)}</div></dl></div>')

    def _shots(self, row: dict) -> str:
        if self._left <= 0:
            self.problem = self.problem or 'Further pictures are left out: the page is full.'
            return ''
        try:
            images = self._pictures(row)
        except NanoVlmError as error:
            self.problem = self.problem or f'Pictures are missing: {error.message}'
            return ''
        step = max(1, -(-len(images) // _SHOTS))
        uris = [data_uri(image, 320 if len(images) == 1 else 200)
                for image in images[::-1][::step][::-1]]
        self._left -= sum(map(len, uris))
        shots = ''.join(f'<img src="{uri}" alt="">' for uri in uris)
        return f'<div class="shots">{shots}</div>' if shots else ''


def said_and_expected(row: dict):
    """Return the lines of a card: asked, said, true."""
    lines = [('asked', row['prompt'], ''), ('said', said(row), 'bad')]
    truth = expected(row)
    return lines if truth is None else [*lines, ('true', truth, 'good')]


def colours_of(names: Sequence[str], kind: str) -> Dict[str, str]:
    """Return the class of each label's colour."""
    if kind == 'yes_no':
        fixed = {'yes': 'c0', 'no': 'c1'}
        return {name: fixed.get(name, 'other') for name in names}
    return {name: 'other' if name == 'other' or i >= plots.PALETTE else f'c{i}'
            for i, name in enumerate(names)}
