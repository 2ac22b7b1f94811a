# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which files of a hub repository a model needs, and which of them are missing.

Files are known by their names relative to the repository, with '/'. Nothing here
touches the network, and no pickle is ever loaded.
"""
import json
import re
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Iterable, List, Set, Tuple

from nanovlm_ros.types import ErrorCode, NanoVlmError

PARTS = ('llm', 'vision_tower', 'mm_projector')  # folders of a VILA-1.5 checkpoint
TEXTS = ('config*.json', 'generation_config.json', 'tokenizer.json', 'tokenizer.model',
         'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json',
         'merges.txt', 'preprocessor_config.json', 'processor_config.json',
         'chat_template.json', 'chat_template.jinja')
INDEXES = ('model.safetensors.index.json', 'pytorch_model.bin.index.json')
TOKENIZERS = ('tokenizer.json', 'tokenizer.model')

_HUB_NAME = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*', re.ASCII)
_REVISION = re.compile(r'[A-Za-z0-9][\w./+-]*', re.ASCII)
_SHARD = re.compile(r'(.*-)(\d{5})-of-(\d{5})(\..*)')
MOST_NAMES = 16 << 20  # bytes of tensor names that are looked through


def is_hub_name(model: str) -> bool:
    """Return whether a text has the form 'owner/name' of a model on the hub."""
    return (_HUB_NAME.fullmatch(model) is not None and len(model) <= 96
            and '--' not in model and '..' not in model
            and not model.endswith(('.git', '.', '-')))


def is_revision(revision: str) -> bool:
    """Return whether a text can be a branch, a tag or a commit; it becomes part of a path."""
    return (_REVISION.fullmatch(revision) is not None and '..' not in revision
            and '//' not in revision and not revision.endswith(('/', '.', '.lock')))


def select(names: Iterable[str], vision_tower: bool = False) -> Tuple[List[str], List[str]]:
    """Return the names to download: texts with the indexes of weights, and weights.

    Pickled weights (`.bin`) are chosen only in a folder without safetensors. Of a
    vision tower the tokenizer stays away, and folders do.
    """
    everything, texts, weights = set(names), [], []
    for folder in ('',) if vision_tower else ('', *PARTS):
        here = _in_folder(everything, folder)
        prefix = f'{folder}/' if folder else ''
        chosen = _weights(here)
        indexes = chosen & set(INDEXES)
        texts += [prefix + name for name in sorted(_texts(here, vision_tower) | indexes)]
        weights += [prefix + name for name in sorted(chosen - indexes)]
    return texts, weights


def lacking(names: Iterable[str], vision_tower: bool = False) -> str:
    """Return what a checkpoint of these files lacks, in words; '' when it lacks nothing."""
    everything = set(names)
    parts = any(name.startswith('llm/') for name in everything) and not vision_tower
    if 'config.json' not in everything:
        return 'config.json'
    for folder in PARTS if parts else ('',):
        prefix, here = (f'{folder}/' if folder else ''), _in_folder(everything, folder)
        if 'config.json' not in here:
            return f'{prefix}config.json'
        shards = {name for name in _weights(here) - set(INDEXES) if name != 'mm_projector.bin'}
        if not shards:
            return f'{prefix}model*.safetensors or {prefix}pytorch_model*.bin'
        missing = _siblings(shards) - shards
        if missing:
            return prefix + min(missing)
        if folder in ('', 'llm') and not vision_tower and not here & set(TOKENIZERS):
            return f'{prefix}tokenizer.json or {prefix}tokenizer.model'
    return ''


def lacking_shard(folder: Path, names: Iterable[str]) -> str:
    """Return the first name in the index files of `folder` that is not in `names`, or ''."""
    present = set(names)
    for prefix in ('', *(f'{part}/' for part in PARTS)):
        for index in INDEXES:
            if prefix + index in present:
                for shard in sorted(set(_weight_map(folder / prefix / index).values())):
                    if prefix + shard not in present:
                        return prefix + shard
    return ''


def files_below(folder: Path) -> List[str]:
    """Return the names of the files at hand; a link to nothing is no file."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*')
                  if path.is_file())


def outside_tower(folder: Path) -> str:
    """Return the hub name of the vision tower that a checkpoint needs beside its own files.

    '' where the checkpoint carries its tower. LLaVA-1.5 does not: its config.json
    names one on the hub. Tensor names decide, read from the index or the file's
    header; a pickle is searched as text, never loaded.
    """
    if (folder / 'llm').is_dir():
        return ''
    name = _json_object(folder / 'config.json').get('mm_vision_tower')
    if not isinstance(name, str) or not is_hub_name(name):
        return ''
    return '' if _mentions_tower(folder) else name


def _mentions_tower(folder: Path) -> bool:
    for index in INDEXES:
        if (folder / index).is_file():
            return any('vision_tower.' in name for name in _weight_map(folder / index))
    safetensors = sorted(folder.glob('*.safetensors'))
    if safetensors:
        return any(b'vision_tower.' in _header(path) for path in safetensors)
    return any(b'vision_tower.' in _pickled_names(path)
               for path in folder.glob('pytorch_model*.bin'))


def _header(path: Path) -> bytes:
    """Return the JSON header of a safetensors file, as bytes; its length comes first."""
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        return file.read(min(length, 100 << 20))


def _pickled_names(path: Path) -> bytes:
    """Return the part of a torch zip file that holds tensor names, unread; b'' of others."""
    if not zipfile.is_zipfile(path):
        return b''
    with zipfile.ZipFile(path) as archive:
        found = []
        for entry in archive.namelist():
            if entry.endswith('/data.pkl'):
                with archive.open(entry) as file:
                    found.append(file.read(MOST_NAMES))  # it may inflate without end
    return b''.join(found)


def _in_folder(names: Set[str], folder: str) -> Set[str]:
    split = [name.rpartition('/') for name in names]
    return {name for parent, _, name in split if parent == folder}


def _matching(names: Set[str], *patterns: str) -> Set[str]:
    return {name for name in names if any(fnmatchcase(name, p) for p in patterns)}


def _texts(names: Set[str], vision_tower: bool) -> Set[str]:
    return _matching(names, *(('config.json', 'preprocessor_config.json') if vision_tower
                              else TEXTS))


def _weights(names: Set[str]) -> Set[str]:
    # Without the second choice a repository with other file names would have no weights;
    # with both, one that holds the same weights twice would be downloaded twice.
    tensors = _matching(names, 'model*.safetensors') or _matching(names, '*.safetensors')
    if tensors:
        return tensors | (names & {'model.safetensors.index.json'})
    return (_matching(names, 'pytorch_model*.bin')
            | (names & {'pytorch_model.bin.index.json', 'mm_projector.bin'}))


def _siblings(shards: Set[str]) -> Set[str]:
    """Return every name of the numbered series that these names belong to."""
    series = set()
    for name in shards:
        match = _SHARD.fullmatch(name)
        if match:
            stem, _, count, end = match.groups()
            series |= {f'{stem}{i:05d}-of-{count}{end}' for i in range(1, int(count) + 1)}
    return series


def _weight_map(path: Path) -> dict:
    """Return tensor name -> file name of an index file."""
    found = _json_object(path).get('weight_map')
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise _broken(path, 'holds no object "weight_map" from tensors to files')
    return found


def _json_object(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise _broken(path, f'cannot be read ({error.strerror})') from error
    except ValueError as error:
        raise _broken(path, f'is not JSON ({error})') from error
    if not isinstance(content, dict):
        raise _broken(path, f'holds a {type(content).__name__} instead of a JSON object')
    return content


def _broken(path: Path, problem: str) -> NanoVlmError:
    return NanoVlmError(
        ErrorCode.MODEL_ERROR,
        f'{path} {problem}; delete it and download the model again, or report it to the '
        "model's owner.")
