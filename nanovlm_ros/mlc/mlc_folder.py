# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Read a folder of weights in MLC's format.

`tensor-cache.json` (`ndarray-cache.json` in older ones) lists the shards
`params_shard_N.bin`, with size and MD5, and the tensors in each: name, shape, dtype,
place and encoding. `mlc-chat-config.json` tells the model that they belong to.
"""
import hashlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from nanovlm_ros.types import ErrorCode, NanoVlmError

INDEX, OLDER_INDEX, CONFIG = 'tensor-cache.json', 'ndarray-cache.json', 'mlc-chat-config.json'
BFLOAT16, PACKED_BFLOAT16 = 'bfloat16', 'f32-to-bf16'
DTYPES = ('uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'uint64', 'int64',
          'float16', 'float32', 'float64')
CHUNK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class Record:
    """Where a tensor lies; `stored` is its type on the disk."""

    path: Path
    offset: int
    shape: Tuple[int, ...]
    stored: str

    @property
    def dtype(self) -> str:
        """Type of the array that is read."""
        return 'float32' if self.stored == BFLOAT16 else self.stored


@dataclass(frozen=True)
class Shard:
    """A file of tensors."""

    path: Path
    nbytes: int
    md5: str


class MlcFolder:
    """The tensors of a folder, by MLC's names; one is read when it is asked for.

    Raises NanoVlmError(MODEL_ERROR), naming the file, for whatever is missing or broken.
    """

    def __init__(self, path: Path):
        self.path = path
        self.index = path / INDEX
        if not self.index.is_file():
            self.index = path / OLDER_INDEX
        if not self.index.is_file():
            raise _broken(f'{path} holds no {INDEX} (or the older {OLDER_INDEX}): it is no '
                          'folder of MLC weights, or it was not copied whole.')
        self.shards: List[Shard] = []
        self._records: Dict[str, Record] = {}
        try:
            for entry in _read_json(self.index)['records']:
                self._add(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _broken(f'{self.index} is not a list of MLC weights: {error!r}. Get it again '
                          'together with its shards.') from error

    @property
    def names(self) -> List[str]:
        """Names of the tensors."""
        return sorted(self._records)

    @property
    def nbytes(self) -> int:
        """Size of all shards."""
        return sum(shard.nbytes for shard in self.shards)

    def config(self) -> Dict[str, Any]:
        """Return the content of `mlc-chat-config.json`."""
        return _read_json(self.path / CONFIG)

    def record(self, name: str) -> Record:
        """Return where a tensor lies, and its shape and type."""
        if name not in self._records:
            raise _broken(f'The tensor {name!r} is missing from {self.index}. The weights are of '
                          f'another model or another quantization than {CONFIG} says.')
        return self._records[name]

    def array(self, name: str) -> np.ndarray:
        """Read a tensor; what is stored as bfloat16 becomes float32."""
        record = self.record(name)
        stored = np.dtype('uint16' if record.stored == BFLOAT16 else record.stored)
        count = prod(record.shape)
        # Read, not mapped: a file that is cut short meanwhile must not kill the process.
        try:
            array = np.fromfile(record.path, stored, count, offset=record.offset)
        except OSError as error:
            raise _broken(f'{record.path} cannot be read: {error}. Get it again.') from error
        if array.size != count:
            raise _broken(f'{record.path} was cut short since it was opened. Get it again.')
        array = array.reshape(record.shape)
        if record.stored == BFLOAT16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array

    def verify(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compare every shard with its MD5; `progress` gets the bytes done and in all."""
        done = 0
        for shard in self.shards:
            if file_md5(shard.path) != shard.md5:
                raise _broken(f'{shard.path} is damaged: its MD5 is not the one in '
                              f'{self.index.name}. Get it again.')
            done += shard.nbytes
            progress(done, self.nbytes)

    def _add(self, entry: Dict[str, Any]) -> None:
        """Take in a shard and its tensors, if the file is as long as it should be."""
        name, nbytes = entry['dataPath'], int(entry['nbytes'])
        # A model comes from somewhere else: it must not name files outside its folder.
        if name != Path(name).name or entry['format'] != 'raw-shard':
            raise ValueError(f'the shard {name!r} of format {entry["format"]!r}')
        path = self.path / name
        if not path.is_file():
            raise _broken(f'{path} is missing, but {self.index.name} names it. Get the rest of '
                          'the model.')
        if path.stat().st_size != nbytes:
            raise _broken(f'{path} has {path.stat().st_size:,} bytes, but {self.index.name} says '
                          f'{nbytes:,}: it was cut short or belongs to another model. Get it '
                          'again.')
        self.shards.append(Shard(path, nbytes, str(entry['md5sum'])))
        for record in entry['records']:
            if record['name'] in self._records:
                raise ValueError(f'the tensor {record["name"]!r} is there twice')
            self._records[record['name']] = _record(path, nbytes, record)


def file_md5(path: Path) -> str:
    """Return the MD5 of a file, in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)  # the format's own checksum
    try:
        with path.open('rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise _broken(f'{path} cannot be read: {error}. Get it again.') from error
    return digest.hexdigest()


def _record(path: Path, limit: int, entry: Dict[str, Any]) -> Record:
    """Check that a tensor's size fits its shape and lies within its shard."""
    shape, stored = tuple(int(size) for size in entry['shape']), entry['dtype']
    if entry['format'] == PACKED_BFLOAT16 and stored == 'float32':
        stored = BFLOAT16
    elif entry['format'] not in ('raw', PACKED_BFLOAT16):
        raise ValueError(f'the format {entry["format"]!r} of {entry["name"]!r}')
    if stored not in (*DTYPES, BFLOAT16):
        raise ValueError(f'the dtype {stored!r} of {entry["name"]!r}')
    item = 2 if stored == BFLOAT16 else np.dtype(stored).itemsize
    offset, nbytes = int(entry['byteOffset']), int(entry['nbytes'])
    if (min(shape, default=0) < 0 or nbytes != prod(shape) * item or offset < 0
            or offset + nbytes > limit):
        raise ValueError(f'{entry["name"]!r} of shape {list(shape)} in {nbytes} bytes at {offset}')
    return Record(path, offset, shape, stored)


def _read_json(path: Path) -> Dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise _broken(f'{path} is missing: the folder of MLC weights is incomplete.') from None
    except (OSError, ValueError) as error:
        raise _broken(f'{path} is not JSON: {error}. Get it again.') from error
    if not isinstance(content, dict):
        raise _broken(f'{path} holds a {type(content).__name__}; a JSON object is needed.')
    return content


def _broken(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, message)
