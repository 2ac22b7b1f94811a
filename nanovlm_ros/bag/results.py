# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The output folder: run.json, and results.jsonl, which only ever grows.

A run that was killed, in the middle of a line too, goes on after the last whole row.
"""
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Iterator, Tuple

from nanovlm_ros.bag.part import Part
from nanovlm_ros.bag.plan import Ask, BagPlan
from nanovlm_ros.bag.reader import bad
from nanovlm_ros.types import Answer, ErrorCode, NanoVlmError

RUN, ROWS, DROPPED = 'run.json', 'results.jsonl', 'dropped.jsonl'


def config_hash(config: dict) -> str:
    """Return the name of a configuration: what gives the same rows has the same."""
    return digest(json.dumps(config, sort_keys=True))


def digest(text: str) -> str:
    """Return 12 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_row(part: Part, ask: Ask, answer: Answer, config: str) -> dict:
    """Return the row of an answer; truth and score are added by the one who writes it.

    Where the newest image has no stamp, that of the row is when it was received; `images` has
    the stamps as they were recorded.
    """
    question = part.questions[ask.question]
    newest = max(ask.frames)
    image = answer.images[ask.frames.index(newest)]
    seconds = answer.timings
    received = [int(part.log_ns[number - part.first]) for number in ask.frames]
    log_ns = int(part.log_ns[newest - part.first])
    return {
        'bag': part.name, 'question': question.id, 'phrasing': ask.phrasing,
        'prompt': answer.prompt,
        'prompt_hash': digest('\0'.join(
            (question.system_prompt, answer.prompt, question.schema_text))),
        'camera': image.camera, 'stamp_ns': image.stamp_ns or log_ns, 'log_ns': log_ns,
        'frame_id': image.frame_id,
        'images': [{'stamp_ns': i.stamp_ns, 'log_ns': at_ns, 'frame_id': i.frame_id,
                    'camera': i.camera, 'width': i.width, 'height': i.height}
                   for i, at_ns in zip(answer.images, received)],
        'text': answer.text, 'json': answer.json, 'json_status': answer.json_status.name,
        'finish_reason': answer.finish_reason, 'error_code': int(answer.error_code),
        'error_message': answer.error_message, 'prompt_tokens': answer.prompt_tokens,
        'image_tokens': answer.image_tokens, 'completion_tokens': answer.completion_tokens,
        'truth': None, 'score': None, 'model': answer.model, 'config': config,
        'measured': {
            'first_token_s': seconds.first_token, 'total_s': seconds.total,
            'queued_s': seconds.queued, 'preprocess_s': seconds.preprocess,
            'vision_s': seconds.vision, 'prefill_s': seconds.prefill,
            'decode_s': seconds.decode, 'cached_tokens': answer.cached_tokens}}


def belongs(row: dict, plan: BagPlan, ask: Ask) -> bool:
    """Tell whether a row is the one of this question."""
    key = plan.name, plan.questions[ask.question].id, ask.phrasing
    # The newest of a window may have been left out because it was broken.
    return (row['bag'], row['question'], row['phrasing']) == key and (
        row['log_ns'] in plan.index.log_ns[list(ask.frames)])


class ResultsFolder:
    """The folder of one run, locked while it is open; used inside `with`."""

    def __init__(self, folder: Path, run: dict):
        self.folder, self._run = folder, run
        self._file = None

    def __enter__(self) -> 'ResultsFolder':
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._refuse_another()
            self._file = open(self.folder / ROWS, 'a+b', buffering=0)
            self._begin()
        except OSError as error:
            raise _full(self.folder, error) from error
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def rows(self) -> Iterator[dict]:
        """Yield the rows that are there."""
        with open(self.folder / ROWS, 'rb') as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise bad(f'{self.folder / ROWS}, line {number} is not JSON, so the run cannot '
                              'go on after it. Delete that line and those below, or give another '
                              'folder by --out.') from error

    def rows_as_planned(self, asks: Iterator[Tuple[BagPlan, Ask]]) -> Iterator[dict]:
        """Yield the rows that are there; raise unless they are the first of the plan's."""
        for row in self.rows():
            planned = next(asks, None)
            if planned is None or not belongs(row, *planned):
                raise self.changed(row)
            yield row

    def changed(self, row: dict) -> NanoVlmError:
        """Return the error about a row that is not where it belongs."""
        return bad(f'{self.folder / ROWS} has a row of question {row["question"]!r} at '
                   f'{row["log_ns"]} ns that does not belong there; the file was changed. Give '
                   'another folder by --out.')

    def append(self, row: dict) -> None:
        """Add a row, whole or not at all. Raises NanoVlmError when the disk is full."""
        line = memoryview(json.dumps(row, ensure_ascii=False).encode() + b'\n')
        before = self._file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[self._file.write(line):]
        except OSError as error:
            self._file.truncate(before)
            raise _full(self.folder, error) from error

    def _begin(self) -> None:
        try:
            self._lock()
            write_json(self.folder / RUN, self._run)
            self._cut_torn_line()
        except BaseException:
            self._file.close()
            raise

    def _refuse_another(self) -> None:
        path = self.folder / RUN
        if not path.exists():
            rows = self.folder / ROWS
            if rows.exists() and rows.stat().st_size:  # empty: the disk was full at the start
                raise bad(f'{self.folder} has a {ROWS} but no {RUN}, so what it holds is unknown. '
                          'Give another folder by --out.')
            return
        try:
            there = json.loads(path.read_text(encoding='utf-8'))['config']
        except (ValueError, KeyError, TypeError) as error:
            raise bad(f'{path} is broken; delete the folder or give another by --out.') from error
        if there != self._run['config']:
            raise bad(f'{self.folder} holds the results of another configuration ({there}; this '
                      f'one is {self._run["config"]}): other bags, questions, labels, sampling, '
                      'model or version. Results are not mixed; give another folder by --out.')

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise bad(f'Another run is writing to {self.folder}; wait for it, or give another '
                      'folder by --out.') from error

    def _cut_torn_line(self) -> None:
        size, block = self._file.seek(0, os.SEEK_END), 1 << 16
        end = size
        while end:
            begin = max(0, end - block)
            self._file.seek(begin)
            place = self._file.read(end - begin).rfind(b'\n')
            if place >= 0:
                end = begin + place + 1
                break
            end = begin
        if end < size:
            self._file.truncate(end)


def _full(folder: Path, error: OSError) -> NanoVlmError:
    return NanoVlmError(
        ErrorCode.INVALID_REQUEST,
        f'{folder} cannot be written: {error.strerror or error}. Make room (or check the folder) '
        'and run the same command again: it goes on after the rows that are there.')


def write_json(path: Path, document: Any) -> None:
    """Write a file that is there whole or not at all. Raises NanoVlmError."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + '\n')


def write_text(path: Path, text: str) -> None:
    """As write_json, of any text."""
    part = path.with_suffix('.part')
    try:
        part.write_text(text, encoding='utf-8')
        part.replace(path)
    except OSError as error:
        raise _full(path.parent, error) from error
