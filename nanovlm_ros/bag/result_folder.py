# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run, read back and checked."""
import json
import sys
from dataclasses import dataclass
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


_REPEATED = ('bag', 'question', 'prompt', 'prompt_hash', 'camera', 'frame_id', 'text',
             'json_status', 'finish_reason', 'model', 'config')


def _lines(path: Path) -> List[dict]:
    with path.open(encoding='utf-8') as file:
        rows = []
        for number, line in enumerate(file, 1):
            row = _parse(path, line, number)
            for name in _REPEATED:  # one copy each: a night of bags has many rows
                if name in row:
                    row[name] = sys.intern(row[name])
            rows.append(row)
        return rows


def _parse(path: Path, text: str, number: int) -> dict:
    try:
        return json.loads(text)
    except ValueError as error:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{path}, line {number}, is not JSON ({error}); the file was cut short: run the same '
            '`nanovlm eval run` again, it resumes.') from error
