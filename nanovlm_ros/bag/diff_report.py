# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of `nanovlm eval diff`: scores side by side, and the pictures that changed hands."""
from html import escape
from pathlib import Path
from typing import List, Optional

from nanovlm_ros.bag import catalog, labels, pictures, plots
from nanovlm_ros.bag.diff import Comparison, Pair
from nanovlm_ros.bag.page_parts import SECOND, Gallery, colours_of, legend, table
from nanovlm_ros.bag.pictures import Pictures
from nanovlm_ros.bag.report import first_truth, starts
from nanovlm_ros.bag.report_template import page
from nanovlm_ros.bag.worst import badness, expected, runs, said

_CARDS = 6           # of each kind and question
_MOST_SERIES = 8     # timelines of a question
_MOST_ROWS = 500     # of the list of changes of a question
_OUTCOMES = ('worse', 'better', 'both right', 'both wrong')


def write_page(comparison: Comparison, path: Path, source: Optional[Pictures] = None) -> None:
    """Write the page; `source` gives the images of a row (None: from B's bags)."""
    from nanovlm_ros.bag.outputs import replace

    gallery = Gallery(source or pictures.from_bags(comparison.b.run), starts(comparison.b.run))
    a, b = comparison.a, comparison.b
    sections = [_question(comparison, name, pairs, gallery)
                for name, pairs in comparison.pairs.items()]
    notes = comparison.notes + ([gallery.problem] if gallery.problem else [])
    body = ''.join([
        '<h1>What changed</h1>',
        f'<p class="muted">A: {escape(str(a.run["model"]))}, configuration '
        f'{escape(str(a.run["config"]))} ({escape(a.folder.name)})<br>'
        f'B: {escape(str(b.run["model"]))}, configuration {escape(str(b.run["config"]))} '
        f'({escape(b.folder.name)})</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        _scores(comparison), *sections])
    replace(path, page(f'{a.folder.name} and {b.folder.name}', body).rstrip())


def _scores(comparison: Comparison) -> str:
    rows = []
    for change in comparison.changes:
        shown, verdict = catalog.entry(change.name), change.verdict
        style = {'better': 'good', 'worse': 'bad', 'same': 'muted'}[verdict]
        rows.append([
            escape(change.question), escape(shown.title), catalog.number(change.a, shown.unit),
            catalog.number(change.b, shown.unit),
            f'<b class="{style}">{catalog.signed(change.difference["value"], shown.unit)}</b>',
            catalog.interval(change.difference, shown.unit, signed_ends=True),
            f'{change.difference["n"]:,}',
            f'<span class="{style}">{"" if verdict == "same" else verdict}</span>'])
    return ('<h2>Scores</h2>' + table(
        ['question', 'score', 'A', 'B', 'B − A', '95 % interval', 'n', ''], rows,
        (2, 3, 4, 5, 6), wide=True)
        + '<p class="note">Over the rows that both runs have; both are resampled at the same '
          'stamps, in blocks of neighbours. Better and worse: the interval leaves out 0.</p>')


def outcome(pair: Pair) -> str:
    """Return what became of a row."""
    a, b = pair.score_a['correct'], pair.score_b['correct']
    return ('both right' if b else 'worse') if a else ('better' if b else 'both wrong')


def _question(comparison: Comparison, name: str, pairs: List[Pair], gallery: Gallery) -> str:
    question = comparison.b.questions[name]
    outcomes = [outcome(pair) for pair in pairs]
    counts = {kind: outcomes.count(kind) for kind in _OUTCOMES}
    parts = [f'<h2>{escape(name)}</h2>', _prompts(comparison, name),
             '<p>' + ', '.join(f'{count:,} {kind}' for kind, count in counts.items()) + '</p>',
             _timelines(comparison, question, pairs, outcomes)]
    by_row = {id(pair.b): pair for pair in pairs}

    def lines(row):
        pair = by_row[id(row)]
        truth = expected(row)
        asked = [('asked', row['prompt'], '')] if pair.a['prompt'] == row['prompt'] else [
            ('A asked', pair.a['prompt'], ''), ('B asked', row['prompt'], '')]
        return [*asked,
                ('A said', said(pair.a), 'good' if pair.score_a['correct'] else 'bad'),
                ('B said', said(row), 'good' if pair.score_b['correct'] else 'bad'),
                ('true', truth or '', '')]

    for kind, title, side in (('worse', 'Worse in B', 'b'), ('better', 'Better in B', 'a')):
        changed = runs([pair.b for pair in pairs], lambda row: _rate(by_row[id(row)], kind, side))
        if changed:
            parts.append(f'<h3>{title} ({min(len(changed), _CARDS)} of {len(changed)} runs)</h3>'
                         f'{gallery.cards(changed[:_CARDS], lines)}')
    return ''.join(parts) + _list(comparison, pairs)


def _rate(pair: Pair, kind: str, side: str) -> float:
    """Return how wrong the wrong one of the two was; 0 where the outcome is another."""
    if outcome(pair) != kind:
        return 0.0
    return badness(getattr(pair, side), getattr(pair, f'score_{side}'))


def _prompts(comparison: Comparison, name: str) -> str:
    a, b = (' / '.join(results.questions[name]['phrasings'])
            for results in (comparison.a, comparison.b))
    if a == b:
        return f'<p>{escape(b)}</p>'
    return f'<p>A: {escape(a)}<br>B: {escape(b)}</p>'


def _timelines(comparison: Comparison, question: dict, pairs: List[Pair],
               outcomes: List[str]) -> str:
    begins = starts(comparison.b.run)
    few = question['score'] in ('yes_no', 'choice')
    parts, colours = [], {}
    if few:
        names = sorted({label for pair in pairs for label in _labels(question, pair)})
        colours = colours_of(names, question['score'])
    series = sorted({(pair.b['bag'], pair.b['camera']) for pair in pairs})
    for bag, camera in series[:_MOST_SERIES]:
        here = [i for i, pair in enumerate(pairs)
                if (pair.b['bag'], pair.b['camera']) == (bag, camera)]
        columns = zip(*(_labels(question, pairs[i]) for i in here)) if few else ()
        bars = {kind: ([outcomes[i] == kind for i in here], style)
                for kind, style in (('worse', 'bad'), ('better', 'good'))}
        seconds = [(pairs[i].b['log_ns'] - begins[bag]) / SECOND for i in here]
        parts.append(f'<p class="note">{escape(bag)}, {escape(camera)}</p>' + plots.strips(
            seconds, dict(zip(('truth', 'A', 'B'), columns)), colours, bars,
            f'{question["id"]} in {bag}'))
    if len(series) > _MOST_SERIES:
        parts.append(f'<p class="note">{len(series) - _MOST_SERIES} further recordings are not '
                     'drawn.</p>')
    return legend(colours) + ''.join(parts)


def _list(comparison: Comparison, pairs: List[Pair]) -> str:
    """Return every stamp at which one run was right and the other was not."""
    begins = starts(comparison.b.run)
    changed = [pair for pair in pairs if outcome(pair) in ('worse', 'better')]
    if not changed:
        return ''
    styles = {'worse': 'bad', 'better': 'good'}
    rows = [[f'<span class="{styles[outcome(pair)]}">{outcome(pair)}</span>',
             f'{(pair.b["log_ns"] - begins[pair.b["bag"]]) / SECOND:.2f} s',
             *(f'<span class="long">{escape(words)}</span>' for words in (
                 pair.b['bag'], said(pair.a), said(pair.b), expected(pair.b) or ''))]
            for pair in changed[:_MOST_ROWS]]
    rest = len(changed) - len(rows)
    return (f'<details><summary>Each of the {len(changed):,} stamps</summary>'
            + table(['', 'at', 'bag', 'A said', 'B said', 'true'], rows, (1,), wide=True)
            + (f'<p class="note">{rest:,} more are in the results of the runs.</p>' if rest else '')
            + '</details>')


def _labels(question: dict, pair: Pair):
    return (labels.label(question, first_truth(pair.b)), labels.answer_label(question, pair.a),
            labels.answer_label(question, pair.b))
