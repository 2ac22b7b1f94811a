# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that is a language model alone: all that the build cache looks at."""
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.models.weights import open_weights

LLM = {'hidden_size': 32, 'intermediate_size': 32, 'num_hidden_layers': 1,
       'num_attention_heads': 2, 'vocab_size': 32, 'rms_norm_eps': 1e-5,
       'max_position_embeddings': 64, 'model_type': 'llama'}


def bare_checkpoint(path) -> Checkpoint:
    """Return the checkpoint of a folder that holds `llm/`."""
    return Checkpoint(
        path=path, name=path.name, config={}, llm=LLM, llm_folder=path / 'llm', vision={},
        projector_type='', several_images=False, image_mean=(), image_std=(),
        llm_weights=lambda: open_weights(path / 'llm'), vision_weights=_none,
        projector_weights=_none, image_newline=_none)


def _none():
    raise AssertionError('nobody should ask for it')
