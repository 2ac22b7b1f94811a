# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bringing one file of the hub into the cache: resumed where it stopped, and verified.

huggingface_hub can do this too, but throws a half-downloaded file away when its
process ends, which a robot on a weak link cannot afford with shards of 10 GB. Its
session, headers, locks and cache layout are used.
"""
import logging
import os
import time
from typing import Callable

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import WeakFileLock, get_session, hf_raise_for_status

from nanovlm_ros.models.hub_cache import RemoteFile, RepoCache
from nanovlm_ros.models.hub_errors import TRANSIENT, status
from nanovlm_ros.types import ErrorCode, NanoVlmError

LOG = logging.getLogger(__name__)

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)  # s, before another try; new bytes start them over
BLOCK = 1 << 20                      # bytes read at once when a part is hashed
RANGE_NOT_SATISFIABLE = 416

Arrived = Callable[[int], None]  # bytes of this file at hand, from now on


class PartFile:
    """The bytes of a file so far, on disk, and their hash."""

    def __init__(self, repo: RepoCache, file: RemoteFile):
        self.file = file
        self._path = repo.part(file)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open('a+b')
        self.size, self._hash = 0, file.hasher()
        self._stream.seek(0)
        while self.size <= file.size and (block := self._stream.read(BLOCK)):
            self._hash.update(block)
            self.size += len(block)
        if self.size > file.size:
            self.restart()

    def __enter__(self) -> 'PartFile':
        return self

    def __exit__(self, *_) -> None:
        self._stream.close()

    @property
    def whole(self) -> bool:
        return self.size == self.file.size

    def write(self, chunk: bytes) -> None:
        """Append bytes; refuse more than the file has."""
        if self.size + len(chunk) > self.file.size:
            self.discard()
            raise _wrong(self.file, f'is longer than the {self.file.size} bytes the hub lists')
        self._stream.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Forget every byte."""
        self._stream.truncate(0)
        self.size, self._hash = 0, self.file.hasher()

    def discard(self) -> None:
        """Delete the part: its bytes are wrong, and nothing may go on from them."""
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def publish(self, repo: RepoCache) -> None:
        """Give the whole file its name, if its digest is right; power may fail afterwards."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        if self._hash.hexdigest() != self.file.digest:
            self.discard()
            raise _wrong(self.file, f'has the digest {self._hash.hexdigest()} instead of '
                                    f'{self.file.digest}: it was damaged on its way')
        self._path.replace(repo.blob(self.file))


def download(repo: RepoCache, file: RemoteFile, url: str, headers: dict, arrived: Arrived,
             hub_failure: Callable[[Exception], NanoVlmError]) -> None:
    """Bring a file into `repo` as a blob; return at once if it is there.

    Raises NanoVlmError when the hub fails for good, when the content is not what the
    hub listed, and OSError when the cache cannot be written.
    """
    with WeakFileLock(repo.lock(file)):  # another process may be at it
        if repo.has_blob(file):
            arrived(file.size)
            return
        with PartFile(repo, file) as part:
            arrived(part.size)
            _persist(part, url, headers, arrived, hub_failure)
            part.publish(repo)


def _persist(part: PartFile, url: str, headers: dict, arrived: Arrived, hub_failure) -> None:
    """Stream until the part is whole, through cuts and a busy hub."""
    best, tries = part.size, 0
    while not part.whole:
        try:
            _stream(part, url, headers, arrived)
            failure: Exception = _ended(part)
        except HfHubHTTPError as error:
            failure = error
            if status(error) == RANGE_NOT_SATISFIABLE:  # the hub's file is shorter than listed
                failure = _ended(part)
                part.restart()
            elif status(error) not in TRANSIENT:
                raise hub_failure(error) from error
        except HTTPError as error:  # no answer, or the connection was lost
            failure = error
        # Only a part longer than ever counts: a server may start over each time.
        tries = 0 if part.size > best else tries + 1
        best = max(best, part.size)
        if part.whole:
            return
        if tries > len(WAITS):
            raise hub_failure(failure) from failure
        if tries:
            # Not the error's own text: it holds signed addresses.
            LOG.warning('%s: %s at %d of %d bytes; trying again', part.file.name,
                        f'HTTP {status(failure)}' if status(failure) else type(failure).__name__,
                        part.size, part.file.size)
            time.sleep(WAITS[tries - 1])


def _stream(part: PartFile, url: str, headers: dict, arrived: Arrived) -> None:
    # Bytes are counted and hashed, so they must come as they are stored.
    asked = {**headers, 'Accept-Encoding': 'identity'}
    if part.size:
        asked['Range'] = f'bytes={part.size}-'
    with get_session().stream('GET', url, headers=asked,
                              timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        if part.size and not response.headers.get('Content-Range', '').startswith(
                f'bytes {part.size}-'):
            part.restart()  # the server sends all of it
        for chunk in response.iter_bytes():
            part.write(chunk)
            arrived(part.size)


def _ended(part: PartFile) -> EOFError:
    return EOFError(f'{part.file.name} ends at {part.size} of {part.file.size} bytes')


def _wrong(file: RemoteFile, problem: str) -> NanoVlmError:
    return NanoVlmError(
        ErrorCode.MODEL_ERROR,
        f'{file.name} as downloaded {problem}. It was deleted; start again, and if this comes '
        'back, a proxy on the way alters files.')
