# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights that take no file and little time: slices of a few random numbers, small and finite.

How long a model takes does not depend on its numbers, as long as they stay finite.
"""
import zlib
from math import prod
from pathlib import Path
from typing import Dict, Iterator, Mapping, Tuple

import numpy as np
import torch

from nanovlm_ros.mlc.repack import parameters
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.models.weights import Weights

SCALE = 0.004   # of a 4-bit value: a matrix then has numbers of about 0.02, as trained ones
SPREAD = 0.02   # of a number that is stored as float
POOL = 1 << 24  # bytes, or numbers, that are random; beyond, they repeat
STEP = 64       # places at which a slice may begin


class RandomWeights(Mapping[str, np.ndarray]):
    """The parameters of a decoder in the layout of its device, made anew when asked for."""

    def __init__(self, shape: DecoderShape, seed: int = 0):
        self._parameters = parameters(shape)
        random = np.random.default_rng(seed)
        self._bytes = np.frombuffer(random.bytes(POOL), np.uint8)
        self._floats = (SPREAD * random.standard_normal(POOL >> 2, np.float32))

    def __getitem__(self, name: str) -> np.ndarray:
        shape, dtype = self._parameters[name]
        if name.endswith('.scale'):
            return np.full(shape, SCALE, dtype)
        if len(shape) == 1:  # of a norm
            return np.full(shape, name.endswith('.weight'), dtype)
        kind = np.dtype(dtype)
        if kind.kind in 'iu':
            size = prod(shape) * kind.itemsize
            return _slice(self._bytes, name, size).view(kind).reshape(shape)
        return _slice(self._floats, name, prod(shape)).astype(kind).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def _slice(pool: np.ndarray, name: str, size: int) -> np.ndarray:
    """Return a new array (size,) from a place in the pool that the name chooses."""
    start = zlib.crc32(name.encode()) % (len(pool) // 2 // STEP) * STEP
    out, done = np.empty(size, pool.dtype), 0
    while done < size:
        part = pool[start:start + size - done]
        out[done:done + len(part)] = part
        done, start = done + len(part), 0
    return out


class _RandomFile:
    """Stands for a file of a checkpoint (`models.weight_files`)."""

    path = Path('random weights')

    def __init__(self, shapes: Dict[str, Tuple[int, ...]]):
        self._shapes = shapes
        random = np.random.default_rng(1)
        self._floats = (SPREAD * random.standard_normal(POOL >> 2, np.float32))

    def tensor(self, name: str) -> torch.Tensor:
        shape = self._shapes[name]
        if len(shape) == 1 and name.endswith('weight'):  # of a norm
            return torch.ones(shape)
        return torch.from_numpy(_slice(self._floats, name, prod(shape)).reshape(shape))

    def tensors(self, names) -> Dict[str, torch.Tensor]:
        return {name: self.tensor(name) for name in names}


def random_tensors(shapes: Dict[str, Tuple[int, ...]]) -> Weights:
    """Return tensors of these names and shapes, float32."""
    file = _RandomFile(shapes)
    return Weights(file.path, {name: (file, name) for name in shapes}, ())
