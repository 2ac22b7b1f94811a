# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint tensors of a Llama decoder -> the packed parameters of the library."""
from typing import Callable, Iterator, Tuple

import numpy as np

from nanovlm_ros.mlc.packing import pack_embedding, pack_linear
from nanovlm_ros.mlc.shape import LlamaShape


def convert_llama(shape: LlamaShape, read: Callable[[str], np.ndarray], tied: bool
                  ) -> Iterator[Tuple[str, np.ndarray]]:
    """Yield (parameter name, array); one group of tensors is in memory at a time.

    `read` returns a checkpoint tensor by its Hugging Face name (`model.layers.0...`)
    as a float array; `tied` says that lm_head is the embedding table.
    """
    def matrix(name, *sources, pack=pack_linear):
        weight = np.concatenate([read(source).astype(np.float32) for source in sources])
        for part, array in pack(weight, shape.quantization).items():
            yield f'{name}.{part}', array

    def vector(name, source):
        yield name, read(source).astype(np.float32)

    table = 'model.embed_tokens.weight'
    yield from matrix('embedding', table, pack=pack_embedding)
    for i in range(shape.layers):
        ours, theirs = f'layers.{i}.', f'model.layers.{i}.'
        yield from vector(ours + 'attention_norm.weight', theirs + 'input_layernorm.weight')
        yield from matrix(ours + 'qkv', *(f'{theirs}self_attn.{p}_proj.weight' for p in 'qkv'))
        yield from matrix(ours + 'attention_out', theirs + 'self_attn.o_proj.weight')
        yield from vector(ours + 'mlp_norm.weight', theirs + 'post_attention_layernorm.weight')
        yield from matrix(ours + 'gate_up', theirs + 'mlp.gate_proj.weight',
                          theirs + 'mlp.up_proj.weight')
        yield from matrix(ours + 'down', theirs + 'mlp.down_proj.weight')
    yield from vector('norm.weight', 'model.norm.weight')
    yield from matrix('head', table if tied else 'lm_head.weight')
