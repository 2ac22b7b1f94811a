# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The language models of the page at their full size, as their config.json has them."""
from pathlib import Path

from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.models.checkpoint import Checkpoint, check_llm

LLAMA = {'model_type': 'llama', 'vocab_size': 32000, 'max_position_embeddings': 4096,
         'rms_norm_eps': 1e-5}
CONFIGS = {
    # LLaVA-1.5 7B, LLaVA-1.6-vicuna 7B, VILA 7B
    '7B': {**LLAMA, 'hidden_size': 4096, 'num_hidden_layers': 32, 'num_attention_heads': 32,
           'num_key_value_heads': 32, 'intermediate_size': 11008},
    # LLaVA-1.5 13B, LLaVA-1.6-vicuna 13B, VILA 13B, VILA-1.5 13B
    '13B': {**LLAMA, 'hidden_size': 5120, 'num_hidden_layers': 40, 'num_attention_heads': 40,
            'num_key_value_heads': 40, 'intermediate_size': 13824},
    # VILA 2.7B, VILA-1.5 3B
    '2.7B': {**LLAMA, 'hidden_size': 2560, 'num_hidden_layers': 32, 'num_attention_heads': 20,
             'num_key_value_heads': 20, 'intermediate_size': 6912},
    # Llama-3-VILA1.5-8B
    '8B': {**LLAMA, 'hidden_size': 4096, 'num_hidden_layers': 32, 'num_attention_heads': 32,
           'num_key_value_heads': 8, 'intermediate_size': 14336, 'vocab_size': 128256,
           'rope_theta': 500000.0, 'max_position_embeddings': 8192},
    # Obsidian-3B-V0.5
    '3B': {'model_type': 'llava_stablelm_epoch', 'hidden_size': 2560, 'num_hidden_layers': 32,
           'num_attention_heads': 32, 'num_key_value_heads': 32, 'intermediate_size': 6912,
           'vocab_size': 50304, 'max_position_embeddings': 4096, 'norm_eps': 1e-5,
           'rope_pct': 0.25}}
CLIP = {'model_type': 'clip_vision_model', 'image_size': 336, 'patch_size': 14,
        'hidden_size': 1024, 'intermediate_size': 4096, 'num_hidden_layers': 24,
        'num_attention_heads': 16}
SIGLIP = {'model_type': 'siglip_vision_model', 'image_size': 384, 'patch_size': 14,
          'hidden_size': 1152, 'intermediate_size': 4304, 'num_hidden_layers': 27,
          'num_attention_heads': 16}


def full_size(name: str, vision=CLIP, projector: str = 'mlp2x_gelu') -> Checkpoint:
    """Return a checkpoint of which nothing but the configuration exists."""
    check_llm(CONFIGS[name], Path(name))
    return Checkpoint(
        path=Path(name), name=name, config={}, llm=CONFIGS[name], llm_folder=Path(name),
        vision=vision, projector_type=projector, several_images=False, image_mean=(),
        image_std=(), llm_weights=_none, vision_weights=_none, projector_weights=_none,
        image_newline=_none)


def full_shape(name: str, quantization: str = 'q4f16_1'):
    """Return the shape of one of the models."""
    return full_size(name).shape(QUANTIZATIONS[quantization])


def _none():
    raise AssertionError('there are no weights')
