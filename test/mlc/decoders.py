# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small decoders with random weights, and MLC folders of them."""
import numpy as np

from nanovlm_ros.mlc.chat_config import chat_config
from nanovlm_ros.mlc.convert import write_weights
from nanovlm_ros.mlc.mlc_layout import decoder_groups, stored_parameters
from nanovlm_ros.mlc.mlc_writer import MlcWriter
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import DecoderShape

HIDDEN, INTERMEDIATE, VOCAB = 64, 96, 160


def small_shape(quantization='q4f16_1', **changes):
    """Grouped-query attention, two layers."""
    return DecoderShape(**{**dict(
        hidden=HIDDEN, intermediate=INTERMEDIATE, layers=2, q_heads=4, kv_heads=2, head_dim=16,
        vocab=VOCAB, norm_eps=1e-5, quantization=QUANTIZATIONS[quantization]), **changes})


def checkpoint_tensors(layers=2, seed=0, norm_biases=False):
    """The tensors of a Llama checkpoint by their published names, float32.

    With `norm_biases` they are those of a StableLM.
    """
    sizes = {'model.embed_tokens': (VOCAB, HIDDEN), 'lm_head': (VOCAB, HIDDEN),
             'model.norm': (HIDDEN,)}
    for i in range(layers):
        layer = {'self_attn.q_proj': (64, HIDDEN), 'self_attn.k_proj': (32, HIDDEN),
                 'self_attn.v_proj': (32, HIDDEN), 'self_attn.o_proj': (HIDDEN, 64),
                 'mlp.gate_proj': (INTERMEDIATE, HIDDEN), 'mlp.up_proj': (INTERMEDIATE, HIDDEN),
                 'mlp.down_proj': (HIDDEN, INTERMEDIATE), 'input_layernorm': (HIDDEN,),
                 'post_attention_layernorm': (HIDDEN,)}
        sizes |= {f'model.layers.{i}.{name}': size for name, size in layer.items()}
    names = {f'{name}.weight': size for name, size in sizes.items()}
    if norm_biases:
        names |= {f'{name}.bias': size for name, size in sizes.items() if 'norm' in name}
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(size).astype(np.float32) for name, size in names.items()}


def write_folder(path, shape, tensors, tied=False):
    """Convert tensors to an MLC folder."""
    groups = decoder_groups(shape, tied)
    config = chat_config(shape, rope_theta=10000.0, positions=256, tied=tied)
    with MlcWriter(path, stored_parameters(groups)) as writer:
        write_weights(groups, shape.quantization, tensors.__getitem__, writer,
                      lambda done, total: None)
        writer.publish(config)
    return path
