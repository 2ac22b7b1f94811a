# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One repository in the cache that every program of the hub shares.

Its layout is huggingface_hub's: `blobs/DIGEST` are files named by their content,
`snapshots/COMMIT/NAME` are links to them, `refs/REVISION` holds a commit. Here a blob
gets its name only when it is whole and its digest is right, and a ref is written only
when its snapshot is whole: a killed download leaves nothing that counts.
"""
import errno
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List

from nanovlm_ros.types import ErrorCode, NanoVlmError

RESERVE = 1 << 30  # bytes of a disk that a download leaves free
# What the kernel says where the file system has no links (FAT, exFAT).
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at one commit."""

    name: str    # relative to the repository, with '/'
    size: int    # bytes
    digest: str  # sha256 of large files, git's SHA-1 of small ones: the name of its blob

    def hasher(self):
        """Return a hash object that gives `digest` after the file's bytes."""
        if len(self.digest) == 64:
            return hashlib.sha256()
        return hashlib.sha1(b'blob %d\0' % self.size, usedforsecurity=False)


class RepoCache:
    """Paths and states of one repository in the cache."""

    def __init__(self, cache: Path, name: str):
        self.cache = cache
        self.name = name
        self.folder = cache / ('models--' + name.replace('/', '--'))
        self._locks = cache / '.locks' / self.folder.name

    def commit(self, revision: str) -> str:
        """Return the commit that a revision meant when it was last downloaded, or ''."""
        if (self.folder / 'snapshots' / revision).is_dir():
            return revision
        try:
            return (self.folder / 'refs' / revision).read_text().strip()
        except OSError:
            return ''

    def snapshot(self, commit: str) -> Path:
        """Return the folder of a commit."""
        return self.folder / 'snapshots' / commit

    def blob(self, file: RemoteFile) -> Path:
        """Return where the content of a file is, once it is whole."""
        return self.folder / 'blobs' / file.digest

    def part(self, file: RemoteFile) -> Path:
        """Return where the content of a file grows; another run continues it."""
        return self.folder / 'blobs' / f'{file.digest}.nanovlm.incomplete'

    def lock(self, file: RemoteFile) -> Path:
        """Return the lock file of a blob, the one that huggingface_hub uses."""
        self._locks.mkdir(parents=True, exist_ok=True)
        return self._locks / f'{file.digest}.lock'

    def has_blob(self, file: RemoteFile) -> bool:
        """Return whether the content is here, by its size."""
        return _size(self.blob(file)) == file.size

    def has_file(self, commit: str, file: RemoteFile) -> bool:
        """Return whether the snapshot of a commit holds the file, by its size."""
        return _size(self.snapshot(commit) / file.name) == file.size

    def bytes_here(self, commit: str, file: RemoteFile) -> int:
        """Return how many bytes of a file need no download."""
        if self.has_file(commit, file) or self.has_blob(file):
            return file.size
        part = _size(self.part(file))
        return part if 0 <= part <= file.size else 0

    def link(self, commit: str, file: RemoteFile) -> None:
        """Put a whole blob into the snapshot of a commit."""
        target, blob = self.snapshot(commit) / file.name, self.blob(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(os.path.relpath(blob, target.parent))
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            blob.replace(target)

    def point(self, revision: str, commit: str) -> None:
        """Remember that a branch or tag is this commit, whose snapshot is whole."""
        if self.commit(revision) == commit:
            return  # which a cache that only can be read allows
        ref = self.folder / 'refs' / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        part = ref.with_name(f'{ref.name}.{os.getpid()}.part')
        part.write_text(commit)
        part.replace(ref)

    def check_space(self, commit: str, files: List[RemoteFile]) -> None:
        """Raise NanoVlmError unless what is to come fits on the disk, with RESERVE to spare."""
        needed = sum(file.size - self.bytes_here(commit, file) for file in files)
        free = shutil.disk_usage(_nearest(self.cache)).free
        if needed and needed + RESERVE > free:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'{self.name} needs {size_text(needed)} more in {self.cache}, which has '
                f'{size_text(free)} free, and {size_text(RESERVE)} must stay free; delete '
                'something there, or set HF_HOME to a folder on a larger disk.')


@contextmanager
def cache_in_use(cache: Path) -> Iterator[None]:
    """Turn a failure to write the cache into a sentence."""
    try:
        yield
    except OSError as error:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'The model cache {cache} cannot be written: {error}. Make room or give permission '
            'there, or set HF_HOME to another folder; what is downloaded so far is kept.'
        ) from error


def size_text(size: float) -> str:
    """Return bytes as people read them: '13.5 GB'."""
    for unit in ('B', 'kB', 'MB'):
        if size < 1000:
            return f'{size:.0f} {unit}' if unit == 'B' else f'{size:.1f} {unit}'
        size /= 1000
    return f'{size:.1f} GB'


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _nearest(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())
