# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Models of the hub: from 'owner/name' to a folder with the files that a model needs.

A copy that is here is used as it is, without asking the network, so a robot starts the
same way every day; `update` asks. Revisions are resolved to a commit first, and that
commit is what is downloaded, whatever happens to a branch meanwhile.
"""
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import build_hf_headers

from nanovlm_ros.models import hub_files
from nanovlm_ros.models.hub_cache import RemoteFile, RepoCache, cache_in_use
from nanovlm_ros.models.hub_errors import TRANSIENT, hub_error, status
from nanovlm_ros.models.hub_transfer import download
from nanovlm_ros.types import ErrorCode, NanoVlmError, Progress

LOG = logging.getLogger(__name__)


DEFAULT_BRANCH = 'main'
WAITS = (1.0, 2.0, 4.0)  # s, before the hub is asked again for its list of files
_COMMIT = re.compile(r'[0-9a-f]{40}')
_DIGEST = re.compile(r'[0-9a-f]{40}|[0-9a-f]{64}')


def fetch_model(name: str, revision: str = '',
                progress: Progress = lambda stage, done, total: None,
                vision_tower: bool = False, *, update: bool = False,
                cache: Optional[Path] = None, endpoint: str = '') -> Path:
    """Return the folder of a hub model, downloading what is not here.

    `name` is 'owner/name', `revision` a branch, tag or commit ('': the branch main). The
    folder's own name is the commit. `vision_tower`: the repository is a tower, which needs
    no tokenizer. `update`: ask the hub whether a branch has moved, even if a complete copy
    is here. `cache` and `endpoint` default to what HF_HOME (or HF_HUB_CACHE) and
    HF_ENDPOINT say; HF_HUB_OFFLINE keeps this off the network. `progress` may raise to
    stop a download, which goes on from there the next time.
    Raises NanoVlmError(INVALID_REQUEST or MODEL_ERROR).
    """
    _check(name, revision)
    fetch = _Fetch(name, revision or DEFAULT_BRANCH, vision_tower,
                   Path(cache or constants.HF_HUB_CACHE), (endpoint or constants.ENDPOINT))
    folder, problem = fetch.local()
    if not problem and (not update or _COMMIT.fullmatch(revision)):
        return folder
    if constants.HF_HUB_OFFLINE:
        if problem:
            raise _failed(
                f'{name} cannot be used offline: {problem}. Unset HF_HUB_OFFLINE, or run '
                f'`nanovlm pull {name}` where there is a network and copy the folder.')
        return folder
    try:
        listing = fetch.list()
    except NanoVlmError as error:
        if problem:
            raise
        LOG.warning('%s The copy in %s is used.', error.message, folder)
        return folder
    return fetch.download(listing, progress)


@dataclass(frozen=True)
class _Listing:
    """What a repository holds at a commit, as far as it is needed."""

    commit: str
    texts: List[RemoteFile]    # and the indexes of weights
    weights: List[RemoteFile]

    @property
    def files(self) -> List[RemoteFile]:
        return self.texts + self.weights


class _Fetch:
    """One model at one revision, between the hub and the cache."""

    def __init__(self, name: str, revision: str, vision_tower: bool, cache: Path, endpoint: str):
        self._name, self._revision, self._tower = name, revision, vision_tower
        self._endpoint = endpoint.rstrip('/')
        self._repo = RepoCache(cache, name)

    def local(self) -> Tuple[Path, str]:
        """Return the folder of the copy at hand, and what is wrong with it ('': nothing)."""
        commit = self._repo.commit(self._revision)
        folder = self._repo.snapshot(commit)
        if not commit or not folder.is_dir():
            return folder, f'{self._repo.cache} holds no copy of its revision {self._revision!r}'
        names = hub_files.files_below(folder)
        missing = (hub_files.lacking(names, self._tower)
                   or hub_files.lacking_shard(folder, names))
        return folder, missing and f'the copy in {folder} lacks {missing}'

    def list(self) -> _Listing:
        """Ask the hub for the commit and its files."""
        info = self._ask()
        if not _COMMIT.fullmatch(info.sha or ''):
            raise self._no_hub(f'gives the commit {info.sha!r}')
        siblings = {file.rfilename: file for file in info.siblings or []}
        self._must_hold(hub_files.lacking(siblings, self._tower), info.sha)
        LOG.info('%s at %s is commit %s', self._name, self._revision, info.sha)
        texts, weights = hub_files.select(siblings, self._tower)
        return _Listing(info.sha, [self._file(siblings[name]) for name in texts],
                        [self._file(siblings[name]) for name in weights])

    def download(self, listing: _Listing, progress: Progress) -> Path:
        """Bring every file of a listing into the snapshot of its commit."""
        repo, commit = self._repo, listing.commit
        folder = repo.snapshot(commit)
        with cache_in_use(repo.cache):
            repo.check_space(commit, listing.files)
            count = _Count(f'download {self._name}', progress, {
                file: repo.bytes_here(commit, file) for file in listing.files})
            self._bring(commit, listing.texts, count)
            missing = hub_files.lacking_shard(folder, [file.name for file in listing.files])
            self._must_hold(missing, commit)
            self._bring(commit, listing.weights, count)
            repo.point(self._revision, commit)
        return folder

    def _bring(self, commit: str, files: List[RemoteFile], count: '_Count') -> None:
        headers = build_hf_headers()
        for file in files:
            if not self._repo.has_file(commit, file):
                url = hf_hub_url(self._name, file.name, revision=commit)
                url = self._endpoint + url[len(constants.ENDPOINT):]
                download(self._repo, file, url, headers, count.of(file), self._failure)
                self._repo.link(commit, file)

    def _ask(self) -> Any:
        """Return huggingface_hub's ModelInfo, with sizes and digests of files."""
        api = HfApi(endpoint=self._endpoint)
        for wait in (*WAITS, None):
            try:
                return api.model_info(self._name, revision=self._revision, files_metadata=True,
                                      timeout=constants.HF_HUB_ETAG_TIMEOUT)
            except HfHubHTTPError as error:
                if wait is None or status(error) not in TRANSIENT:
                    raise self._failure(error) from error
                time.sleep(wait)
            except HTTPError as error:
                raise self._failure(error) from error
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise self._no_hub(f'answers with something else ({error})') from error

    def _file(self, sibling: Any) -> RemoteFile:
        size = sibling.lfs.size if sibling.lfs else sibling.size
        digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        if not isinstance(size, int) or not _DIGEST.fullmatch(digest or ''):
            raise self._no_hub(f'lists {sibling.rfilename} without its size and digest')
        return RemoteFile(sibling.rfilename, size, digest)

    def _must_hold(self, missing: str, commit: str) -> None:
        if missing:
            kind = 'a vision tower' if self._tower else 'a model of a family known here'
            raise _failed(
                f'{self._name} at commit {commit} lacks {missing}, so it is not {kind}; see '
                'docs/models.md for what is supported, or use another revision.')

    def _no_hub(self, problem: str) -> NanoVlmError:
        return _failed(
            f'{self._endpoint} {problem} when asked for {self._name}: it is not a model hub, or '
            'a proxy or a login page answers for it. Check HF_ENDPOINT and the network.')

    def _failure(self, error: Exception) -> NanoVlmError:
        return hub_error(error, self._endpoint, self._name, self._revision)


class _Count:
    """Bytes of every file at hand, told as one sum."""

    def __init__(self, stage: str, progress: Progress, here: Dict[RemoteFile, int]):
        self._stage, self._progress, self._here = stage, progress, here
        self._total = sum(file.size for file in here)
        if sum(here.values()) < self._total:
            self._tell()

    def of(self, file: RemoteFile) -> Callable[[int], None]:
        """Return what takes the number of bytes of a file that are here."""
        def arrived(size: int) -> None:
            changed = size != self._here[file]
            self._here[file] = size
            if changed:
                self._tell()
        return arrived

    def _tell(self) -> None:
        self._progress(self._stage, sum(self._here.values()), self._total)


def _check(name: str, revision: str) -> None:
    if not hub_files.is_hub_name(name):
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{name!r} is not the name of a model on the hub; such names have the form '
            "'owner/name', as in 'Efficient-Large-Model/VILA1.5-3b'.")
    if revision and not hub_files.is_revision(revision):
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{revision!r} is not a revision; use a branch, a tag or a commit of {name}.')


def _failed(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, message)
