# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How the tensors of a decoder are named and shaped in an MLC folder; numpy only.

A group is what one of our modules takes: a matrix with its scales, or the vectors of a
norm. It has three names: ours (`layers.0.qkv`), MLC's (`model.layers.0.self_attn.qkv_proj`)
and those of the checkpoint's tensors that are stacked in it.
"""
import re
from dataclasses import dataclass
from math import prod
from typing import Dict, List, Tuple

import numpy as np

from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES, Quantization
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError

# Ours -> MLC's and the checkpoint's, below `model.layers.N.` for what is in a layer.
_LAYER = {
    'attention_norm': ('input_layernorm', ('input_layernorm',)),
    'qkv': ('self_attn.qkv_proj', tuple(f'self_attn.{part}_proj' for part in 'qkv')),
    'attention_out': ('self_attn.o_proj', ('self_attn.o_proj',)),
    'mlp_norm': ('post_attention_layernorm', ('post_attention_layernorm',)),
    'gate_up': ('mlp.gate_up_proj', ('mlp.gate_proj', 'mlp.up_proj')),
    'down': ('mlp.down_proj', ('mlp.down_proj',)),
}
_OUTSIDE = {'embedding': 'model.embed_tokens', 'norm': 'model.norm', 'head': 'lm_head'}
_NAME = re.compile(r'(layers\.\d+\.)?(\w+)\.(\w+)')


@dataclass(frozen=True)
class Parameter:
    """A tensor of an MLC folder."""

    name: str
    shape: Tuple[int, ...]
    dtype: str  # 'uint32', 'float16' or 'float32'

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Group:
    """A matrix (sum of `rows`, `columns`), or vectors of `columns` numbers."""

    name: str                           # ours
    sources: Tuple[str, ...]            # modules of the checkpoint, stacked in this order
    rows: Tuple[int, ...]               # of each source; () for vectors
    columns: int
    parameters: Dict[str, Parameter]    # by the part of our name: weight, scale, bias


def model_dtype(quantization: Quantization) -> str:
    """Return the type of everything in an MLC folder that is not 4-bit."""
    return quantization.scale or quantization.weight


def decoder_groups(shape: DecoderShape, tied: bool) -> List[Group]:
    """Return the groups of a decoder, in the order of `shape.parameter_names()`.

    `tied` says that the head is the embedding table: the two groups are then made of the
    same parameters. Raises MODEL_ERROR for a matrix that the kernels cannot take.
    """
    parts: Dict[Tuple[str, str], List[str]] = {}
    for name in shape.parameter_names():
        layer, module, part = _NAME.fullmatch(name).groups()
        parts.setdefault((layer or '', module), []).append(part)
    return [_group(shape, layer, module, found, tied) for (layer, module), found in parts.items()]


def stored_parameters(groups: List[Group]) -> List[Parameter]:
    """Return each parameter once, in order."""
    return list(dict.fromkeys(p for group in groups for p in group.parameters.values()))


def _group(shape: DecoderShape, layer: str, module: str, parts: List[str], tied: bool) -> Group:
    if layer:
        theirs, tensors = _LAYER[module]
        mlc, sources = f'model.{layer}{theirs}', tuple(f'model.{layer}{t}' for t in tensors)
    else:
        mlc = _OUTSIDE['embedding' if tied and module == 'head' else module]
        sources = (mlc,)
    rows, columns = _sizes(shape).get(module, ((), shape.hidden))
    if sum(rows) % LANES or rows and columns % GROUP:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'{mlc}.weight is a matrix of {sum(rows)} x {columns}; the kernels need a multiple '
            f'of {LANES} rows and of {GROUP} columns. Pad the checkpoint to that.')
    parameters = {part: _parameter(mlc, part, sum(rows), columns, shape.quantization)
                  for part in parts}
    return Group(layer + module, sources, rows, columns, parameters)


def _parameter(mlc: str, part: str, rows: int, columns: int, quantization: Quantization
               ) -> Parameter:
    floats = model_dtype(quantization)
    if not rows:
        return Parameter(f'{mlc}.{part}', (columns,), floats)
    if part == 'scale':
        return Parameter(f'{mlc}.q_scale', (rows, columns // GROUP), floats)
    if quantization.quantized:
        return Parameter(f'{mlc}.q_weight', (rows, columns // NIBBLES), 'uint32')
    return Parameter(f'{mlc}.weight', (rows, columns), floats)


def _sizes(shape: DecoderShape) -> Dict[str, Tuple[Tuple[int, ...], int]]:
    """(rows of each source, columns) of the matrices."""
    queries, keys = shape.q_heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        'embedding': ((shape.vocab,), shape.hidden),
        'qkv': ((queries, keys, keys), shape.hidden),
        'attention_out': ((shape.hidden,), queries),
        'gate_up': ((shape.intermediate, shape.intermediate), shape.hidden),
        'down': ((shape.hidden,), shape.intermediate),
        'head': ((shape.vocab,), shape.hidden),
    }
