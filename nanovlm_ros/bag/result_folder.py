# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run, read back and checked."""
import gc
import json
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Dict, List

from nanovlm_ros.types import ErrorCode, NanoVlmError


@dataclass(frozen=True)
class Results:
    """The folder of a run, read."""

    folder: Path
    run: dict
    rows: List[dict]
    dropped: List[dict]
    measured: dict  # wall_s, peak_memory_mib, workers; empty if the run did not say

    @property
    def questions(self) -> Dict[str, dict]:
        """The questions by id, in the order of the questions file."""
        return {question['id']: question for question in self.run['questions']}

    def rows_of(self, question: str) -> List[dict]:
        """Return the rows of a question."""
        return [row for row in self.rows if row['question'] == question]


def read_results(folder: Path) -> Results:
    """Read the folder of a run. Raises NanoVlmError when it is none, or is broken."""
    folder = Path(folder)
    for name in ('run.json', 'results.jsonl'):
        if not (folder / name).is_file():
            raise NanoVlmError(
                ErrorCode.INVALID_REQUEST,
                f'{folder} has no {name}: it is not a folder that `nanovlm eval run --out` wrote.')
    run = _parse(folder / 'run.json', (folder / 'run.json').read_text(encoding='utf-8'), 1)
    measured = folder / 'measured.json'
    results = Results(
        folder, run, _lines(folder / 'results.jsonl'),
        _lines(folder / 'dropped.jsonl') if (folder / 'dropped.jsonl').is_file() else [],
        _parse(measured, measured.read_text(encoding='utf-8'), 1) if measured.is_file() else {})
    strange = sorted({row['question'] for row in results.rows} - set(results.questions))
    if strange:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{folder}/results.jsonl has rows of {", ".join(map(repr, strange))}, which run.json '
            'does not ask; the two are of different runs.')
    return results


_TOGETHER = 1000  # rows that are parsed at once
_REPEATED = ('bag', 'question', 'prompt', 'prompt_hash', 'camera', 'frame_id', 'text',
             'json_status', 'finish_reason', 'model', 'config')


def _lines(path: Path) -> List[dict]:
    rows: List[dict] = []
    with path.open(encoding='utf-8') as file:
        while lines := list(islice(file, _TOGETHER)):
            rows += _shared(_together(path, lines, len(rows) + 1))
            gc.freeze()  # rows hold no cycles: looking for them takes a third of a summary's time
    return rows


def _together(path: Path, lines: List[str], first: int) -> List[dict]:
    """Parse lines at once: so the rows share the names of their fields."""
    try:
        return json.loads(f'[{",".join(lines)}]')
    except ValueError:  # which one is it?
        return [_parse(path, line, number) for number, line in enumerate(lines, first)]


def _shared(rows: List[dict]) -> List[dict]:
    """Keep one copy of what many rows have."""
    known: Dict[str, dict] = {}
    for row in rows:
        for name in _REPEATED:
            if name in row:
                row[name] = sys.intern(row[name])
        for name in ('images', 'score'):
            if row.get(name):
                row[name] = known.setdefault(str(row[name]), row[name])
    return rows


def _parse(path: Path, text: str, number: int) -> dict:
    try:
        return json.loads(text)
    except ValueError as error:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{path}, line {number}, is not JSON ({error}); the file was cut short: run the same '
            '`nanovlm eval run` again, it resumes.') from error
