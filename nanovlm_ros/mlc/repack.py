# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From the row layout of MLC's folders to the layouts that the kernels read, exactly.

MLC stores the columns of a row side by side and a 4-bit value as value + 7; the kernels
want 16 rows side by side and two's complement (`mlc.packing`). Only whole words move
and nibbles change their code, so that no value changes. numpy only.
"""
from typing import Dict, Iterator, Mapping, Tuple

import numpy as np

from nanovlm_ros.mlc.mlc_folder import MlcFolder
from nanovlm_ros.mlc.mlc_layout import Group, Parameter, decoder_groups
from nanovlm_ros.mlc.packing import LANES
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError

BLOCK = 1 << 18  # bytes moved at a time: they stay in the processor's cache


class PackedWeights(Mapping[str, np.ndarray]):
    """The parameters of a decoder by our names, each laid out anew whenever it is asked for.

    Nothing is kept: whoever copies them to a device one by one needs memory for one more.
    """

    def __init__(self, folder: MlcFolder, shape: DecoderShape, tied: bool):
        """Raise MODEL_ERROR if a tensor is missing, or has another shape or type."""
        self._folder = folder
        self._places: Dict[str, Tuple[Group, str]] = {
            f'{group.name}.{part}': (group, part)
            for group in decoder_groups(shape, tied) for part in group.parameters}
        for group, part in self._places.values():
            self._check(group.parameters[part])

    def __getitem__(self, name: str) -> np.ndarray:
        group, part = self._places[name]
        return pack(group, part, self._folder.array(group.parameters[part].name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _check(self, wanted: Parameter) -> None:
        found = self._folder.record(wanted.name)
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'{self._folder.index}: the tensor {wanted.name!r} is {found.dtype} of '
                f'{list(found.shape)}; the model configuration asks for {wanted.dtype} of '
                f'{list(wanted.shape)}. The two do not belong together.')


def pack(group: Group, part: str, array: np.ndarray) -> np.ndarray:
    """Lay out one parameter of a group as `kernels` and `shape.parameter_names()` have it."""
    if not group.rows:  # vectors: the kernels have them in float32
        return np.asarray(array, np.float32)
    words = array.dtype == np.uint32
    if group.name == 'embedding':
        return recode(array) if words else array
    return lanes_last(array, words)


def recode(words: np.ndarray) -> np.ndarray:
    """uint32 of eight nibbles, value + 7 each -> int32 of eight in two's complement."""
    out = np.empty(words.shape, np.int32)
    step = max(1, BLOCK // (4 * words.shape[1]))
    for start in range(0, len(words), step):
        out[start:start + step] = _twos_complement(words[start:start + step]).view(np.int32)
    return out


def lanes_last(matrix: np.ndarray, words: bool) -> np.ndarray:
    """(n, c) -> (n / 16, c, 16): 16 rows side by side; `words` are recoded to int32."""
    n, c = matrix.shape
    out = np.empty((n // LANES, c, LANES), np.int32 if words else matrix.dtype)
    step = max(1, BLOCK // (LANES * c * matrix.itemsize))
    for start in range(0, n // LANES, step):
        block = matrix[start * LANES:(start + step) * LANES]
        if words:
            block = _twos_complement(block).view(np.int32)
        out[start:start + step] = block.reshape(-1, LANES, c).transpose(0, 2, 1)
    return out


def _twos_complement(words: np.ndarray) -> np.ndarray:
    """Add 9 to each nibble modulo 16: value + 7 becomes value."""
    # + 1 among the low three bits, whose carry stops at the top one; + 8 turns the top one.
    out = words & np.uint32(0x77777777)
    out += np.uint32(0x11111111)
    out ^= ~words & np.uint32(0x88888888)
    return out
