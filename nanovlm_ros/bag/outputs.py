# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind, made from its rows: summary, report, parquet, mcap."""
import json
from pathlib import Path
from typing import Callable, Optional

from nanovlm_ros.bag import bootstrap, catalog
from nanovlm_ros.bag.metrics import Sums, ratio, scores, summarise_question
from nanovlm_ros.bag.result_folder import Results, read_results
from nanovlm_ros.bag.system import summarise_system
from nanovlm_ros.types import ErrorCode, NanoVlmError


def summarise(results: Results) -> dict:
    """Return the summary of a run: every metric with its interval."""
    run = results.run
    return {
        **{name: run.get(name) for name in (
            'version', 'config', 'model', 'quantization', 'context_length', 'mode')},
        'bags': [bag['name'] for bag in run['bags']],
        'rows': len(results.rows),
        'confidence': {'level': bootstrap.LEVEL, 'resamples': bootstrap.RESAMPLES,
                       'seed': bootstrap.SEED, 'method': 'percentile, circular blocks'},
        'overall': overall(results),
        'questions': {name: summarise_question(question, results.rows_of(name))
                      for name, question in results.questions.items()},
        'system': summarise_system(results.rows, results.dropped, run, results.measured),
    }


def overall(results: Results) -> dict:
    """Return the share of right answers over all questions that have a truth."""
    judged = [(row['bag'], row['stamp_ns'], score['correct'])
              for name, question in results.questions.items()
              for row, score in _judged(question, results.rows_of(name))]
    judged.sort()
    if not judged:
        return {'scored': 0, 'metrics': {}}
    accuracy = Sums([(bag, stamp) for bag, stamp, _ in judged],
                    [[right for _, _, right in judged], [1] * len(judged)])
    return {'scored': len(judged), 'metrics': {'accuracy': accuracy.metric(ratio(0, 1), True)}}


def _judged(question: dict, rows):
    return [(row, score) for row, score in zip(rows, scores(question, rows)) if score]


def write_outputs(folder: Path, pictures: Optional[Callable] = None) -> dict:
    """Write summary.json, results.parquet, results.mcap and report.html; return the summary.

    `pictures` gives the images of a row as RGB arrays; None reads them from the bags of
    the run. Files that are there are replaced, each only when the new one is complete.
    Raises NanoVlmError: no results in the folder, no room on the disk.
    """
    from nanovlm_ros.bag import pictures as picture_sources
    from nanovlm_ros.bag.report import write_report
    from nanovlm_ros.bag.results_mcap import write_mcap
    from nanovlm_ros.bag.results_parquet import write_parquet

    results = read_results(folder)
    summary = summarise(results)
    try:
        replace(results.folder / 'summary.json', json.dumps(
            summary, indent=2, ensure_ascii=False, allow_nan=False))
        write_parquet(results)
        write_mcap(results)
        write_report(results, summary, pictures or picture_sources.from_bags(results.run))
    except OSError as error:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'The outputs in {folder} cannot be written: {error.strerror or error}. Make room (or '
            'check the folder) and run the same command again: the answers are kept.') from error
    return summary


def terminal_summary(summary: dict) -> str:
    """Return the scores of a summary as lines of text."""
    lines = [('question', 'scored as', 'answers', 'errors', 'right', '95 % interval')]
    for name, found in summary['questions'].items():
        lines.append((name, found['score'], str(found['rows']), str(found['errors']),
                      *_right(found['metrics'])))
    lines.append(('all', '', str(summary['rows']),
                  str(sum(q['errors'] for q in summary['questions'].values())),
                  *_right(summary['overall']['metrics'])))
    return catalog.columns(lines)


def _right(metrics: dict):
    found = metrics.get('accuracy')
    return (catalog.number(found['value'], 'share'),
            catalog.interval(found, 'share')) if found else ('no truth', '')


def replace(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    part = path.with_name(path.name + '.part')
    part.write_text(text + '\n', encoding='utf-8')
    part.replace(path)
