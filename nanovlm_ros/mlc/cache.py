# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of what is built once, and how a file appears in it: whole or not at all."""
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from nanovlm_ros.types import ErrorCode, NanoVlmError


def cache_folder() -> Path:
    """Return the folder of the build cache."""
    return Path(os.environ.get('NANOVLM_CACHE') or Path.home() / '.cache' / 'nanovlm_ros')


@contextmanager
def cache_in_use() -> Iterator[None]:
    """Turn a failure of the file system into a sentence. Raises MODEL_ERROR."""
    try:
        yield
    except OSError as error:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'The build cache {cache_folder()} cannot be written: {error}. Make room or give '
            'permission there, or set NANOVLM_CACHE to another folder.') from error


def part(path: Path) -> Path:
    """Return the name under which this process writes a file that will be `path`."""
    return path.with_name(f'{path.stem}.{os.getpid()}.part{path.suffix}')


def publish(written: Path, path: Path) -> None:
    """Give a complete file its name; its content is on the disk before, power may fail."""
    with written.open('rb') as file:
        os.fsync(file.fileno())
    written.replace(path)
