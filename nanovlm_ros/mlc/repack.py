# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From the row layout of MLC's folders to the layout that a device's kernels read, exactly.

numpy only.
"""
from importlib import import_module
from typing import Dict, Iterator, Mapping, Tuple

import numpy as np

from nanovlm_ros.mlc.mlc_folder import MlcFolder
from nanovlm_ros.mlc.mlc_layout import Group, Parameter, decoder_groups
from nanovlm_ros.mlc.shape import DecoderShape, Parameters, table_parameters
from nanovlm_ros.types import ErrorCode, NanoVlmError


def layout(device: str):
    """Return the module that knows how the kernels of a device want weights."""
    return import_module(f'nanovlm_ros.mlc.kernels.{device}.layout')


def parameters(shape: DecoderShape) -> Parameters:
    """Return (shape, dtype) of each parameter of a decoder, in the order of their names."""
    module, out = layout(shape.device), {}
    for group in decoder_groups(shape, tied=False):
        if group.rows:
            kind = (table_parameters if group.name == 'embedding'
                    else module.matrix_parameters)
            made = kind(sum(group.rows), group.columns, shape.quantization)
        else:
            made = {part: ((group.columns,), 'float32') for part in group.parameters}
        out.update({f'{group.name}.{part}': entry for part, entry in made.items()})
    return out


def library_parameters(shape: DecoderShape) -> Parameters:
    """Return (shape, dtype) of each array that the library takes, in its order.

    A device may have several parameters in one.
    """
    return layout(shape.device).joined(parameters(shape))


class PackedWeights(Mapping[str, np.ndarray]):
    """The parameters of a decoder by our names, each laid out anew whenever it is asked for.

    Nothing is kept: whoever copies them to a device one by one needs memory for one more.
    """

    def __init__(self, folder: MlcFolder, shape: DecoderShape, tied: bool):
        """Raise MODEL_ERROR if a tensor is missing, or has another shape or type."""
        self._folder, self._shape = folder, shape
        self._places: Dict[str, Tuple[Group, str]] = {
            f'{group.name}.{part}': (group, part)
            for group in decoder_groups(shape, tied) for part in group.parameters}
        for group, part in self._places.values():
            self._check(group.parameters[part])

    def __getitem__(self, name: str) -> np.ndarray:
        group, part = self._places[name]
        return pack(self._shape, group, part, self._folder.array(group.parameters[part].name))

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


def pack(shape: DecoderShape, group: Group, part: str, array: np.ndarray) -> np.ndarray:
    """Lay out one parameter of a group as the kernels of `shape.device` have it."""
    if not group.rows:  # vectors: all kernels have them in float32
        return np.asarray(array, np.float32)
    if group.name == 'embedding':
        return array.view(np.int32) if array.dtype == np.uint32 else array
    return layout(shape.device).pack(group, part, array)
