# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One file of a checkpoint: safetensors, or a pickle that may hold nothing but tensors.

A file is mapped anew for each tensor that is asked for, so that the pages of one that
was used do not stay in memory. Every failure is a NanoVlmError(MODEL_ERROR) that names
the file and says what to do.
"""
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Dict, FrozenSet

import torch
from safetensors import SafetensorError, safe_open

from nanovlm_ros.types import ErrorCode, NanoVlmError

SAFE_TORCH = (2, 6)  # earlier releases ran code from some files in spite of weights_only
LFS_POINTER = b'version https://git-lfs.github.com/spec/'


class SafetensorsFile:
    """A *.safetensors file; its header is read when it is opened."""

    def __init__(self, path: Path):
        _check_content(path)
        self.path = path
        with self._open() as shard:
            self.names: FrozenSet[str] = frozenset(shard.keys())

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor, which maps its part of the file."""
        with self._open() as shard:
            return shard.get_tensor(name)

    def tensors(self, names) -> Dict[str, torch.Tensor]:
        """Return several tensors."""
        with self._open() as shard:
            return {name: shard.get_tensor(name) for name in names}

    def _open(self):
        try:
            return safe_open(self.path, framework='pt')
        except (SafetensorError, OSError, ValueError) as error:
            raise broken(
                f'{self.path} is not a whole safetensors file ({error}). It was cut short or '
                'damaged on the way; get it again.') from error


class PickleFile:
    """A *.bin file of `torch.save`; only tensors are taken from it, and no code is run."""

    def __init__(self, path: Path):
        _check_content(path)
        check_torch(path)
        self.path = path
        self.names: FrozenSet[str] = frozenset(self._load())

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor, which maps its part of the file."""
        return self._load()[name]

    def tensors(self, names) -> Dict[str, torch.Tensor]:
        """Return several tensors."""
        content = self._load()
        return {name: content[name] for name in names}

    def _load(self) -> Dict[str, torch.Tensor]:
        if not zipfile.is_zipfile(self.path):
            raise broken(
                f'{self.path} is no archive of torch.save: it was cut short, or it was written '
                'by a torch before 1.6. Get it again, or save it anew as safetensors.')
        try:
            content = torch.load(self.path, map_location='cpu', weights_only=True, mmap=True)
        except UnpicklingError as error:
            raise broken(
                f'{self.path} holds more than tensors, so that reading it could run code: it is '
                'refused. Get the weights as safetensors, or from another source. '
                f'torch says: {str(error).splitlines()[0]}') from error
        except Exception as error:  # the bytes of a damaged pickle may raise anything
            raise broken(
                f'{self.path} cannot be read ({type(error).__name__}: {error}). It was cut short '
                'or damaged on the way; get it again.') from error
        if not isinstance(content, dict) or not all(
                isinstance(value, torch.Tensor) for value in content.values()):
            raise broken(
                f'{self.path} is no dictionary of tensors. Save the state_dict of the model '
                'alone, best as safetensors.')
        return content


def check_torch(path: Path) -> None:
    """Refuse to read a pickle with a torch that is known to run code from one."""
    version = torch.__version__.split('+')[0]
    if tuple(int(part) for part in version.split('.')[:2]) < SAFE_TORCH:
        raise broken(
            f'{path} is a pickle, and torch {version} may run code from it even with '
            f'weights_only. Install torch >= {".".join(map(str, SAFE_TORCH))}, or convert the '
            'file to safetensors.')


def _check_content(path: Path) -> None:
    """Tell the failures that have a cause of their own from damage."""
    try:
        with path.open('rb') as file:
            start = file.read(len(LFS_POINTER))
    except FileNotFoundError:
        raise broken(f'{path} is missing: the model folder is incomplete. Get it again.') from None
    except OSError as error:
        raise broken(f'{path} cannot be read: {error}.') from error
    if not start:
        raise broken(f'{path} is empty: it was not downloaded. Get it again.')
    if start == LFS_POINTER:
        raise broken(f'{path} is only a Git LFS pointer: run `git lfs pull` in its folder.')


def broken(message: str) -> NanoVlmError:
    """Return the error of a model folder that cannot be used."""
    return NanoVlmError(ErrorCode.MODEL_ERROR, message)
