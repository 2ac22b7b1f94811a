# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""report.html: one file that explains a run, with nothing loaded from outside."""
import json
from html import escape
from typing import List

import numpy as np

from nanovlm_ros.bag import catalog, labels, plots
from nanovlm_ros.bag.page_parts import (
    SECOND, Gallery, colours_of, legend, matrix, metrics_table, table)
from nanovlm_ros.bag.metrics import scores
from nanovlm_ros.bag.pictures import Pictures
from nanovlm_ros.bag.report_template import page
from nanovlm_ros.bag.result_folder import Results
from nanovlm_ros.bag.system import PERCENTS
from nanovlm_ros.bag.worst import worst_runs

_CARDS = 6          # worst answers of a question
_MOST_SERIES = 8    # timelines of a question: bags and cameras
_MOST_LANES = 4     # phrasings of a timeline
_STRIPS = ('yes_no', 'choice')  # kinds whose labels are few


def write_report(results: Results, summary: dict, pictures: Pictures) -> None:
    """Write report.html into the folder of the run."""
    from nanovlm_ros.bag.outputs import replace

    replace(results.folder / 'report.html', report(results, summary, pictures).rstrip())


def report(results: Results, summary: dict, pictures: Pictures) -> str:
    """Return the page."""
    gallery = Gallery(pictures, starts(results.run))
    sections = [_question(results, question, summary['questions'][name], gallery)
                for name, question in results.questions.items()]
    problem = f'<p class="note">{escape(gallery.problem)}</p>' if gallery.problem else ''
    title = f'{summary["model"]} on {", ".join(summary["bags"])}'
    return page(title, ''.join([
        f'<h1>{escape(title)}</h1>', _subtitle(summary), _tiles(summary), _overview(summary),
        problem, *sections, _speed(results, summary), _drops(results, summary),
        _configuration(results)]))


def starts(run: dict) -> dict:
    """Return the beginning of each bag in ns."""
    return {bag['name']: bag['start_ns'] for bag in run['bags']}


def _subtitle(summary: dict) -> str:
    how = {'throughput': 'every sampled frame was asked about',
           'replay': 'replayed as recorded: the newest frame wins'}.get(summary['mode'], '')
    return (f'<p class="muted">{summary["rows"]:,} answers to {len(summary["questions"])} '
            f'questions; {escape(str(summary["mode"]))} mode'
            f'{": " + how if how else ""}; weights {escape(str(summary["quantization"]))}; '
            f'configuration {escape(str(summary["config"]))}</p>')


def _tiles(summary: dict) -> str:
    system = summary['system']
    shown = [('right, all questions', 'share', summary['overall']['metrics'].get('accuracy'))]
    for name, percent, title in (('first_token_s', 'p50', 'first token, median'),
                                 ('total_s', 'p95', 'answer, 95th percentile')):
        shown.append((title, 's', system['times'].get(name, {}).get(percent)))
    shown += [(catalog.entry(name).title, catalog.entry(name).unit, system['metrics'].get(name))
              for name in ('tokens_per_second', 'real_time_factor', 'peak_memory_mib')]
    if system['dropped']:
        shown.append(('of the due frames dropped', 'share',
                      system['dropped']['metrics'].get('dropped_share')))
    return '<div class="tiles">' + ''.join(
        f'<div class="tile"><b>{catalog.number(metric["value"], unit)}</b>'
        f'<span>{escape(title)}</span><span>{catalog.interval(metric, unit) or "&nbsp;"}</span>'
        '</div>' for title, unit, metric in shown if metric) + '</div>'


def _overview(summary: dict) -> str:
    rows = []
    for name, found in summary['questions'].items():
        right = found['metrics'].get('accuracy')
        flips = found['metrics'].get('spurious_flip_rate') or found['metrics'].get('flip_rate')
        rows.append([
            f'<a href="#q-{escape(name)}">{escape(name)}</a>', escape(found['score']),
            f'{found["rows"]:,}', f'{found["scored"]:,}',
            f'<span class="bad">{found["errors"]}</span>' if found['errors'] else '0',
            catalog.number(right['value'], 'share') if right else '–',
            catalog.interval(right, 'share') if right else '',
            plots.gauge(right) if right else '',
            catalog.number(flips['value'], 'share') if flips else '–'])
    return '<h2>Questions</h2>' + table(
        ['question', 'scored as', 'answers', 'with truth', 'errors', 'right', '95 % interval', '',
         'flips'], rows, (2, 3, 4, 5, 6, 8), wide=True) + (
        '<p class="note">Intervals are percentile bootstraps over blocks of neighbouring '
        'stamps. Flips: neighbouring answers that differ while the truth stays (without a truth: '
        'that differ).</p>')


def _question(results: Results, question: dict, found: dict, gallery: Gallery) -> str:
    rows = results.rows_of(question['id'])
    prompts = ' / '.join(question['phrasings'])
    parts = [f'<h2 id="q-{escape(question["id"])}">{escape(question["id"])}</h2>'
             f'<p>{escape(prompts)}</p>']
    if not rows:
        return ''.join(parts) + '<p class="muted">This question was never asked.</p>'
    metrics = {**found['metrics'], **found.get('events', {}).get('metrics', {})}
    left, right = metrics_table(metrics), ''
    if 'confusion' in found:
        right += '<h3>What was said</h3>' + matrix(found['confusion'])
    if 'events' in found:
        events = found['events']
        right += (f'<h3>Event: {escape(events["event"])}</h3><p>{events["onsets"]} onsets, '
                  f'{events["missed"]} missed, {events["false_onsets"]} false.</p>')
    if len(found['phrasings']) > 1:
        right += '<h3>By phrasing</h3>' + table(
            ['', 'right', '95 % interval'],
            [[escape(p['prompt']), catalog.number(p['accuracy']['value'], 'share'),
              catalog.interval(p['accuracy'], 'share')] for p in found['phrasings']], (1, 2))
    parts.append(f'<div class="columns"><div>{left}</div><div>{right}</div></div>')
    parts.append(_timelines(results, question, rows))
    worst = worst_runs(question, rows)
    if worst:
        parts.append(f'<h3>Worst answers ({min(len(worst), _CARDS)} of {len(worst)} runs of wrong '
                     f'ones)</h3>{gallery.cards(worst[:_CARDS])}')
    return ''.join(parts)


def _timelines(results: Results, question: dict, rows: List[dict]) -> str:
    begins = starts(results.run)
    series = sorted({(row['bag'], row['camera']) for row in rows})
    kind, parts = question['score'], []
    names = _label_names(question, rows) if kind in _STRIPS else []
    colours = colours_of(names, kind)
    for bag, camera in series[:_MOST_SERIES]:
        some = sorted((row for row in rows if (row['bag'], row['camera']) == (bag, camera)),
                      key=lambda row: row['log_ns'])
        seconds = [(row['log_ns'] - begins[bag]) / SECOND for row in some]
        parts.append(f'<p class="note">{escape(bag)}, {escape(camera)}</p>')
        title = f'{question["id"]} over time in {bag}'
        if kind == 'number':
            judged = scores(question, some)
            parts.append(plots.points(
                seconds, [labels.number(row['text']) for row in some],
                [score and score['expected'] for score in judged],
                [bool(score and score['correct']) for score in judged], title))
        else:
            parts.append(plots.strips(
                seconds, lanes(question, some) if kind in _STRIPS else {}, colours,
                _bars(question, some), title))
    if len(series) > _MOST_SERIES:
        parts.append(f'<p class="note">{len(series) - _MOST_SERIES} further recordings are in '
                     'results.parquet.</p>')
    if kind == 'number':
        colours = {'said': 'c0'}
        if any(row['truth'] is not None for row in rows):
            colours = {'truth (line)': 'ink', 'said': 'c0', 'said, wrong': 'bad'}
    return f'<h3>Over time</h3>{legend(colours)}' + ''.join(parts)


def _bars(question: dict, rows: List[dict]) -> dict:
    """Return which answers were wrong; without any truth, which differ from the one before."""
    if any(row['truth'] is not None for row in rows):
        return {'wrong': ([bool(score) and not score['correct']
                           for score in scores(question, rows)], 'bad')}
    before: dict = {}
    flips = []
    for row in rows:
        said = labels.answer_label(question, row)
        flips.append(before.get(row['phrasing'], said) != said)
        before[row['phrasing']] = said
    return {'answer flips': (flips, 'c0')}


def _label_names(question: dict, rows: List[dict]) -> List[str]:
    """Return the labels in the order of the choices, then by name."""
    order = ['yes', 'no'] if question['score'] == 'yes_no' else list(question['choices'])
    seen = {labels.answer_label(question, row) for row in rows} | {
        labels.label(question, first_truth(row)) for row in rows if row['truth'] is not None}
    return [name for name in order if name in seen] + sorted(seen - set(order))


def first_truth(row: dict):
    """Return the truth of a row; of alternatives the first."""
    truth = row['truth']
    return truth[0] if isinstance(truth, list) and truth else truth


def lanes(question: dict, rows: List[dict]) -> dict:
    """Return the truth, and what was said in each phrasing, for each row."""
    phrasings = sorted({row['phrasing'] for row in rows})
    found = {}
    if any(row['truth'] is not None for row in rows):
        found['truth'] = [None if row['truth'] is None else
                          labels.label(question, first_truth(row)) for row in rows]
    for phrasing in phrasings[:_MOST_LANES]:
        name = 'said' if len(phrasings) == 1 else f'phrasing {phrasing + 1}'
        found[name] = [labels.answer_label(question, row) if row['phrasing'] == phrasing else None
                       for row in rows]
    return found


def _speed(results: Results, summary: dict) -> str:
    times = summary['system']['times']
    parts = ['<h2>Speed</h2>']
    if not times:
        return parts[0] + '<p class="muted">The rows carry no times.</p>'
    rows = [[catalog.TIMES[name]] + [
        f'{catalog.number(values[f"p{p}"]["value"], "s")} '
        f'<span class="note">{catalog.interval(values[f"p{p}"], "s")}</span>' for p in PERCENTS]
        for name, values in times.items()]
    parts.append(table(['', 'median', '95th percentile', '99th percentile'], rows, wide=True))
    parts.append(f'<h3>Of the whole run</h3>{metrics_table(summary["system"]["metrics"])}')
    answered = [row for row in results.rows if not row['error_code']]
    for name in ('first_token_s', 'total_s', 'age_s'):
        if name in times:
            marks = {f'p{p}': 1000 * times[name][f'p{p}']['value'] for p in PERCENTS}
            parts.append(f'<h3>{escape(catalog.TIMES[name].capitalize())}, ms</h3>')
            parts.append(plots.histogram(
                [1000 * row['measured'][name] for row in answered
                 if row['measured'].get(name) is not None], marks, 'ms', catalog.TIMES[name]))
    return ''.join(parts)


def _drops(results: Results, summary: dict) -> str:
    found = summary['system']['dropped']
    if not found:
        return ''
    reasons = ', '.join(f'{count:,} {reason}' for reason, count in found['reasons'].items())
    parts = ['<h2>What the live node would have missed</h2>',
             f'<p>Of {found["due"]:,} due questions {found["answered"]:,} were answered and '
             f'{found["dropped"]:,} dropped{" (" + escape(reasons) + ")" if reasons else ""}; '
             f'{found["stale_answers"]:,} were refused as stale.</p>',
             metrics_table(found['metrics'])]
    colours = {'answered': 'c0', **{reason: style for reason, style in zip(
        found['reasons'], ('bad', 'c1', 'c3', 'c4'))}}
    parts.append(legend(colours))
    begins = starts(results.run)
    for bag in sorted(begins):
        events = [(row['log_ns'], 'answered') for row in results.rows
                  if row['bag'] == bag and row['phrasing'] == 0]
        events += [(d['log_ns'], d['reason']) for d in results.dropped if d['bag'] == bag]
        if events:
            seconds = (np.array([ns for ns, _ in events]) - begins[bag]) / SECOND
            parts.append(f'<p class="note">{escape(bag)}</p>')
            parts.append(plots.stacked(seconds, [kind for _, kind in events], list(colours),
                                       colours, f'answered and dropped in {bag}'))
    return ''.join(parts)


def _configuration(results: Results) -> str:
    text = json.dumps(results.run, indent=2, ensure_ascii=False)
    return ('<h2>Configuration</h2><details><summary>run.json</summary>'
            f'<pre>{escape(text)}</pre></details>')
