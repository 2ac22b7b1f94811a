# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The named tensors of a checkpoint folder, whatever the files that hold them.

Opening reads headers only, and finds files that are missing or cut short; a tensor is
read when it is asked for. Nothing runs code from a checkpoint. Every failure is a
NanoVlmError(MODEL_ERROR) that names the file.
"""
import json
import re
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch

from nanovlm_ros.models.weight_files import PickleFile, SafetensorsFile, broken

File = Union[SafetensorsFile, PickleFile]

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHARD = re.compile(r'-(\d+)-of-(\d+)$')


class Weights:
    """Tensors by name, in the files of a folder or the part of them below a prefix."""

    def __init__(self, source: Path, places: Dict[str, Tuple[File, str]], unread: Sequence[Path]):
        """`places` maps a name to (file, name in that file); `unread` are untrusted pickles."""
        self.source = source
        self.names: List[str] = sorted(places)
        self.files: List[Path] = sorted({file.path for file, _ in places.values()})
        self._places = places
        self._unread = unread

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def file(self, name: str) -> Path:
        """Return the file that holds a tensor."""
        return self._place(name)[0].path

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor as it is stored."""
        file, stored = self._place(name)
        return file.tensor(stored)

    def floats(self, name: str) -> torch.Tensor:
        """Return a tensor as it is stored, if that is as float16, bfloat16, float32 or float64."""
        tensor = self.tensor(name)
        if tensor.dtype not in FLOATS:
            raise broken(
                f'The tensor {name!r} in {self.file(name)} is {str(tensor.dtype)[6:]}; weights '
                'must be float16, bfloat16 or float32. A checkpoint that was quantised by other '
                'tools cannot be read: get the original one.')
        return tensor

    def array(self, name: str) -> np.ndarray:
        """Return a float32 array."""
        return self.floats(name).float().numpy()

    def all(self) -> Dict[str, torch.Tensor]:
        """Return every tensor as it is stored, by name."""
        by_file: Dict[File, Dict[str, str]] = {}
        for name, (file, stored) in self._places.items():
            by_file.setdefault(file, {})[stored] = name
        return {stored_as[stored]: tensor for file, stored_as in by_file.items()
                for stored, tensor in file.tensors(stored_as).items()}

    def below(self, prefix: str) -> 'Weights':
        """Return a view of the tensors whose names start with `prefix`, without it."""
        places = {name[len(prefix):]: place for name, place in self._places.items()
                  if name.startswith(prefix)}
        return Weights(self.source, places, self._unread)

    def _place(self, name: str) -> Tuple[File, str]:
        place = self._places.get(name)
        if place is None:
            files = ', '.join(path.name for path in self.files[:4]) or 'no file'
            files += f' and {len(self.files) - 4} more' if len(self.files) > 4 else ''
            unread = ', '.join(path.name for path in self._unread)
            raise broken(
                f'The tensor {name!r} is missing from {self.source} (read: {files}). ' + (
                    f'{unread} was not read, for it is a pickle: set trust_pickle if you trust '
                    'its source.' if unread else
                    'The model folder is incomplete, or not of the kind that its config.json '
                    'says.'))
        return place


def open_weights(folder: Path, *, trust_pickle: bool = False, also: Sequence[str] = ()
                 ) -> Weights:
    """Open the weights of a folder: an index and its shards, or every file of one kind.

    safetensors come before pickles. Files named in `also` are added where they exist, for
    names that the others lack. Pickles are read only with `trust_pickle`.
    """
    if not folder.is_dir():
        raise broken(f'The folder {folder} does not exist: the model folder is incomplete.')
    places: Dict[str, Tuple[File, str]] = {}
    unread = []
    index, paths = _find(folder)
    for path in paths:
        _add(places, _open(path, trust_pickle))
    if index is not None:
        _check_index(folder / index, places)
    for path in (folder / name for name in also):
        if path.is_file() and path.suffix != '.safetensors' and not trust_pickle:
            unread.append(path)
        elif path.is_file() and path not in paths:
            _add(places, _open(path, trust_pickle))
    return Weights(folder, places, unread)


def _find(folder: Path) -> Tuple[Optional[str], List[Path]]:
    """Return (name of the index, if there is one, the weights files)."""
    for index, pattern in (('model.safetensors.index.json', '*.safetensors'),
                           ('pytorch_model.bin.index.json', 'pytorch_model*.bin')):
        if (folder / index).is_file():
            shards = sorted(set(_read_index(folder / index).values()))
            absent = [name for name in shards if not (folder / name).is_file()]
            if absent:
                raise broken(
                    f'{folder / absent[0]} is missing, but {index} names it ({len(absent)} of '
                    f'{len(shards)} files are missing). Get the rest of the model.')
            return index, [folder / name for name in shards]
        paths = sorted(folder.glob(pattern))
        if paths:
            _check_series(paths)
            return None, paths
    raise broken(f'{folder} holds no *.safetensors and no pytorch_model*.bin file: the model '
                 'folder is incomplete. Get the whole of it.')


def _read_index(path: Path) -> Dict[str, str]:
    """Return the map from a tensor's name to its file's."""
    try:
        names = json.loads(path.read_text(encoding='utf-8'))['weight_map']
        valid = all(isinstance(name, str) and name == Path(name).name for name in names.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(f'{path} is not an index of weights: {error!r}. Get it again.') from error
    if not names or not valid:
        raise broken(f'{path} must map tensors to names of files beside it. Get it again.')
    return names


def _check_index(path: Path, places: Dict[str, Tuple[File, str]]) -> None:
    for name, file in _read_index(path).items():
        if name not in places:
            raise broken(
                f'{path.parent / file} lacks the tensor {name!r}, which {path.name} says it '
                'holds. The two belong to different downloads; get both again.')


def _check_series(paths: List[Path]) -> None:
    """Without an index, a name such as model-00001-of-00003 tells what should be there."""
    for path in paths:
        match = _SHARD.search(path.stem)
        if not match:
            continue
        number, total = match.groups()
        for i in range(1, int(total) + 1):
            name = f'{path.stem[:match.start()]}-{i:0{len(number)}}-of-{total}{path.suffix}'
            if not path.with_name(name).is_file():
                raise broken(f'{path.with_name(name)} is missing, but {path.name} is there. '
                             'Get the rest of the model.')


def _open(path: Path, trust_pickle: bool) -> File:
    if path.suffix == '.safetensors':
        return SafetensorsFile(path)
    if not trust_pickle:
        raise broken(
            f'{path} is a pickle, a format that can run code. Better convert the model to '
            'safetensors (`save_pretrained(..., safe_serialization=True)`); to read it as it '
            'is, from a source that you trust, set trust_pickle.')
    return PickleFile(path)


def _add(places: Dict[str, Tuple[File, str]], file: File) -> None:
    """Add a file's tensors; a name that an earlier file holds stays that one's."""
    for name in file.names:
        places.setdefault(name, (file, name))
