# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a folder of weights in MLC's format, and go on where a killed writer stopped.

The folder grows as NAME.part and gets its name when it is complete. Which tensor lies
where is planned from their sizes alone, so that the result does not depend on how often
the work was cut off. `shards.jsonl` in the part lists the shards that are on the disk.
"""
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set

import numpy as np

from nanovlm_ros.mlc.mlc_folder import CONFIG, INDEX, file_md5
from nanovlm_ros.mlc.mlc_layout import Parameter
from nanovlm_ros.types import ErrorCode, NanoVlmError

SHARD = 32 << 20         # bytes of a shard, unless one tensor is larger
JOURNAL = 'shards.jsonl'
SPARE = 64 << 20         # bytes left free on the disk


class MlcWriter:
    """Takes the parameters of a folder one by one, in order; those of `done` are there.

    A context manager: leaving it without `publish` keeps the complete shards for the next
    one, unless a NanoVlmError says that the checkpoint is at fault. Raises OSError when the
    disk is full or read-only.
    """

    def __init__(self, path: Path, parameters: Sequence[Parameter]):
        self.path, self.part = path, path.with_name(path.name + '.part')
        self.total = sum(p.nbytes for p in parameters)
        self.done_bytes = 0
        self.done: Set[str] = set()
        self._plan = _plan(parameters)
        self._pending = [(i, p) for i, shard in enumerate(self._plan) for p in shard]
        self._finished: List[str] = []  # MD5 of each complete shard
        self._file: Any = None

    def __enter__(self) -> 'MlcWriter':
        """Find what is there. Raises MODEL_ERROR if the disk cannot hold the rest."""
        self.part.mkdir(parents=True, exist_ok=True)
        self._resume()
        free, needed = shutil.disk_usage(self.part).free, self.total - self.done_bytes + SPARE
        if free < needed:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'The converted weights need {needed / 1e9:.2f} GB in {self.path.parent}, but '
                f'{free / 1e9:.2f} GB are free there. Make room, choose a smaller quantization, '
                'or set NANOVLM_CACHE to a folder on another disk.')
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None and issubclass(kind, NanoVlmError):
            shutil.rmtree(self.part)
        elif self._file is not None:  # a shard that is not complete does not count
            Path(self._file.name).unlink()
        if self._file is not None:
            self._file.close()  # where the disk is full this says so again

    def write(self, parameter: Parameter, array: np.ndarray) -> None:
        """Append the next parameter; one that is `done` is left as it is."""
        if parameter.name in self.done:
            return
        index, expected = self._pending.pop(0)
        assert expected == parameter, (expected, parameter)
        assert (array.shape, str(array.dtype)) == (parameter.shape, parameter.dtype)
        if self._file is None:
            self._file = (self.part / _name(index)).open('wb')
            self._digest = hashlib.md5(usedforsecurity=False)
        data = memoryview(np.ascontiguousarray(array)).cast('B')
        self._file.write(data)
        self._digest.update(data)
        self.done.add(parameter.name)
        self.done_bytes += parameter.nbytes
        if expected is self._plan[index][-1]:
            _sync(self._file)
            self._file.close()
            self._file = None
            self._complete(index, self._digest.hexdigest())

    def publish(self, config: Dict[str, Any], copies: Sequence[Path] = ()) -> None:
        """Write the index, `mlc-chat-config.json` and copies of files; then name the folder."""
        assert not self._pending
        for source in copies:
            shutil.copyfile(source, self.part / source.name)
        _write_json(self.part / CONFIG, config)
        _write_json(self.part / INDEX, self._index())
        _sync_folder(self.part)
        if self.path.exists():  # an earlier one, which was damaged
            shutil.rmtree(self.path)
        self.part.replace(self.path)
        (self.path / JOURNAL).unlink()
        _sync_folder(self.path.parent)

    def _complete(self, index: int, md5: str) -> None:
        line = {'dataPath': _name(index), 'md5sum': md5}
        with (self.part / JOURNAL).open('a', encoding='utf-8') as journal:
            journal.write(json.dumps(line) + '\n')
            _sync(journal)
        self._finished.append(md5)

    def _resume(self) -> None:
        """Take over the complete shards of an earlier run, checked; drop everything else."""
        journal = self.part / JOURNAL
        lines = (journal.read_text(encoding='utf-8', errors='replace').splitlines()
                 if journal.is_file() else [])
        kept = []
        for index, (line, parameters) in enumerate(zip(lines, self._plan)):
            path, nbytes = self.part / _name(index), sum(p.nbytes for p in parameters)
            if not path.is_file() or path.stat().st_size != nbytes:
                break
            md5 = file_md5(path)
            if line != json.dumps({'dataPath': _name(index), 'md5sum': md5}):
                break
            kept.append(line)
            self._finished.append(md5)
            self.done.update(p.name for p in parameters)
            self.done_bytes += nbytes
            self._pending = self._pending[len(parameters):]
        replacement = self.part / (JOURNAL + '.part')
        replacement.write_text(''.join(f'{line}\n' for line in kept), encoding='utf-8')
        replacement.replace(journal)
        whole = {JOURNAL, *(_name(index) for index in range(len(kept)))}
        for path in self.part.iterdir():
            if path.name not in whole:
                path.unlink()

    def _index(self) -> Dict[str, Any]:
        shards = []
        for index, (parameters, md5) in enumerate(zip(self._plan, self._finished)):
            records, offset = [], 0
            for p in parameters:
                records.append({'name': p.name, 'shape': list(p.shape), 'dtype': p.dtype,
                                'format': 'raw', 'nbytes': p.nbytes, 'byteOffset': offset})
                offset += p.nbytes
            shards.append({'dataPath': _name(index), 'format': 'raw-shard', 'nbytes': offset,
                           'records': records, 'md5sum': md5})
        return {'metadata': {'ParamSize': sum(len(shard) for shard in self._plan),
                             'ParamBytes': self.total}, 'records': shards}


def _plan(parameters: Sequence[Parameter]) -> List[List[Parameter]]:
    """Cut the parameters, in order, into shards of at most SHARD bytes or of one tensor."""
    plan: List[List[Parameter]] = []
    room = 0
    for parameter in parameters:
        if parameter.nbytes > room:
            plan.append([])
            room = SHARD
        plan[-1].append(parameter)
        room -= parameter.nbytes
    return plan


def _name(index: int) -> str:
    return f'params_shard_{index}.bin'


def _write_json(path: Path, content: Dict[str, Any]) -> None:
    with path.open('w', encoding='utf-8') as file:
        json.dump(content, file, indent=2)
        _sync(file)


def _sync(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk: power may fail."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
