# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint tensors of a decoder -> the parameters of an MLC folder, group by group.

A matrix passes in blocks of rows: beside the checkpoint's tensor only what is written
is in memory, however large the matrix.
"""
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np

from nanovlm_ros.mlc.mlc_layout import Group, Parameter, decoder_groups
from nanovlm_ros.mlc.mlc_writer import MlcWriter
from nanovlm_ros.mlc.packing import Quantization, quantize
from nanovlm_ros.mlc.repack import pack
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError

BLOCK = 1 << 18  # numbers converted at a time

# Returns a checkpoint tensor by its Hugging Face name (`model.layers.0...`): a torch tensor
# or a numpy array of floats, whose rows are read when they are sliced.
Read = Callable[[str], Any]
Where = Callable[[str], object]  # names the file of a tensor, for messages


def convert_decoder(shape: DecoderShape, read: Read, tied: bool
                    ) -> Iterator[Tuple[str, np.ndarray]]:
    """Yield (parameter name, array) as the library takes them; nothing is written.

    `tied` says that lm_head is the embedding table.
    """
    for group in decoder_groups(shape, tied):
        made = convert_group(group, shape.quantization, read)
        for part, parameter in group.parameters.items():
            yield f'{group.name}.{part}', pack(shape, group, part, made[parameter])


def write_weights(groups: List[Group], quantization: Quantization, read: Read,
                  writer: MlcWriter, progress: Callable[[int, int], None]) -> None:
    """Convert what the writer does not have yet; `progress` gets its bytes done and in all."""
    progress(writer.done_bytes, writer.total)
    for group in groups:
        if all(p.name in writer.done for p in group.parameters.values()):
            continue
        for parameter, array in convert_group(group, quantization, read).items():
            writer.write(parameter, array)
            progress(writer.done_bytes, writer.total)


def check_sources(groups: List[Group], read: Read, where: Where) -> None:
    """Raise MODEL_ERROR if a checkpoint tensor has another shape; `read` raises for others."""
    for group in groups:
        for source, rows in zip(group.sources, group.rows or (None,)):
            for part in ('weight',) if group.rows else group.parameters:
                name = f'{source}.{part}'
                wanted = (rows, group.columns) if rows else (group.columns,)
                shape = tuple(read(name).shape)
                if shape != wanted:
                    raise NanoVlmError(
                        ErrorCode.MODEL_ERROR,
                        f'The tensor {name!r} in {where(name)} has the shape {list(shape)}; '
                        f'config.json asks for {list(wanted)}. The two do not belong together.')


def convert_group(group: Group, quantization: Quantization, read: Read
                  ) -> Dict[Parameter, np.ndarray]:
    """Return the parameters of a group as an MLC folder stores them.

    Raises MODEL_ERROR for numbers that are not finite, or too large for the type.
    """
    if not group.rows:
        return {parameter: _vector(read, f'{group.sources[0]}.{part}', parameter.dtype)
                for part, parameter in group.parameters.items()}
    out = {p: np.empty(p.shape, p.dtype) for p in group.parameters.values()}
    start = 0
    for source, rows in zip(group.sources, group.rows):
        name = f'{source}.weight'
        tensor = read(name)
        step = max(1, BLOCK // group.columns)
        for first in range(0, rows, step):
            block = _floats(tensor[first:first + step])
            made = _block(block, quantization, name)
            for array, piece in zip(out.values(), made):
                array[start + first:start + first + len(block)] = piece
        start += rows
    return out


def _block(rows: np.ndarray, quantization: Quantization, name: str) -> Tuple[np.ndarray, ...]:
    """Rows of a matrix as stored: (weight,) or (weight, scale)."""
    if not quantization.quantized:
        return (_cast(rows, quantization.weight, name),)
    _check_range(rows, quantization.scale, name)
    q, scale = quantize(rows, quantization.scale)
    return nibbles(q), scale


def nibbles(q: np.ndarray) -> np.ndarray:
    """q int8 (n, k) in [-7, 7] -> uint32 (n, k / 8); nibble i is q + 7 of column 8 * word + i."""
    codes = (q + np.int8(7)).view(np.uint8)
    pairs = codes[:, 1::2] << 4
    pairs |= codes[:, ::2]
    return pairs.view('<u4')


def _vector(read: Read, name: str, dtype: str) -> np.ndarray:
    return _cast(_floats(read(name)), dtype, name)


def _floats(tensor: Any) -> np.ndarray:
    """Return float32; torch's conversion knows bfloat16, numpy's does not."""
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float32)
    return tensor.float().numpy()


def _cast(array: np.ndarray, dtype: str, name: str) -> np.ndarray:
    _check_range(array, dtype, name)
    return array.astype(dtype)


def _check_range(array: np.ndarray, dtype: str, name: str) -> None:
    # NaN and infinity fail the comparison, too.
    if not np.abs(array).max(initial=0) <= np.finfo(dtype).max:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'The tensor {name!r} of the checkpoint holds numbers that are not finite or beyond '
            f'{dtype}. If the model is sound, use a quantization with f32 in its name.')
