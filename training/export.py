# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes a model as a VILA-1.5 checkpoint folder (float16 safetensors) and reads it back."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from training.model import Shape, VisionLanguage


def _configs(s: Shape) -> dict[str, dict]:
    llm = {
        'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'attention_bias': False,
        'bos_token_id': 1, 'eos_token_id': 2, 'hidden_act': 'silu', 'hidden_size': s.hidden,
        'initializer_range': 0.02, 'intermediate_size': s.inter,
        'max_position_embeddings': s.context, 'num_attention_heads': s.heads,
        'num_hidden_layers': s.layers, 'num_key_value_heads': s.heads,
        'head_dim': s.hidden // s.heads, 'rms_norm_eps': s.rms_eps, 'rope_scaling': None,
        'rope_theta': s.rope_theta, 'tie_word_embeddings': False, 'torch_dtype': 'float16',
        'use_cache': True, 'vocab_size': s.vocab, 'model_max_length': s.context,
    }
    vision = {
        'architectures': ['SiglipVisionModel'], 'model_type': 'siglip_vision_model',
        'attention_dropout': 0.0, 'hidden_act': 'gelu_pytorch_tanh',
        'hidden_size': s.vision_hidden, 'image_size': s.image,
        'intermediate_size': s.vision_inter, 'layer_norm_eps': 1e-6,
        'num_attention_heads': s.vision_heads, 'num_channels': 3,
        'num_hidden_layers': s.vision_layers, 'patch_size': s.patch, 'torch_dtype': 'float16',
        'vision_use_head': False,
    }
    projector = {'architectures': ['MultimodalProjector'], 'model_type': 'v2l_projector',
                 'mm_projector_type': 'mlp_downsample', 'torch_dtype': 'float16'}
    top = {
        'architectures': ['LlavaLlamaModel'], 'model_type': 'llava_llama',
        'drop_path_rate': 0.0, 'hidden_size': s.hidden, 'image_aspect_ratio': 'resize',
        'interpolate_mode': 'linear', 'llm_cfg': dict(llm), 'mm_hidden_size': s.vision_hidden,
        'mm_projector_cfg': dict(projector), 'mm_projector_lr': None,
        'mm_projector_type': 'mlp_downsample', 'mm_use_im_patch_token': False,
        'mm_use_im_start_end': False, 'mm_vision_select_feature': 'cls_patch',
        'mm_vision_select_layer': -1, 'model_dtype': 'torch.float16', 'num_video_frames': 8,
        'torch_dtype': 'float16', 's2': False, 'tune_language_model': True,
        'tune_mm_projector': True, 'tune_vision_tower': True, 'vision_resolution': -1,
        'vision_tower_cfg': dict(vision),
    }
    preprocessor = {
        'do_convert_rgb': True, 'do_normalize': True, 'do_rescale': True, 'do_resize': True,
        'image_mean': [0.5, 0.5, 0.5], 'image_processor_type': 'SiglipImageProcessor',
        'image_std': [0.5, 0.5, 0.5], 'resample': 3, 'rescale_factor': 1 / 255,
        'size': {'height': s.image, 'width': s.image},
    }
    generation = {'bos_token_id': 1, 'eos_token_id': 2, 'max_length': s.context,
                  'do_sample': False}
    return {'config.json': top, 'llm/config.json': llm, 'llm/generation_config.json': generation,
            'vision_tower/config.json': vision, 'mm_projector/config.json': projector,
            'vision_tower/preprocessor_config.json': preprocessor}


def _vision_key(name: str) -> str:
    part = name.removeprefix('vision.')
    section = 'encoder' if part.startswith('layers') else 'embeddings'
    return f'vision_model.{section}.{part}'


def save_checkpoint(model: VisionLanguage, folder: Path) -> int:
    """Writes configs and weights (the tokenizer has its own writer); returns the bytes written."""
    folder = Path(folder)
    files: dict[str, dict[str, torch.Tensor]] = {
        'llm/model.safetensors': {}, 'vision_tower/model.safetensors': {},
        'mm_projector/model.safetensors': {}}
    for name, value in model.state_dict().items():
        value = value.detach().to('cpu', torch.float16).contiguous()
        if name.startswith('vision.'):
            files['vision_tower/model.safetensors'][_vision_key(name)] = value
        elif name.startswith('projector.'):
            files['mm_projector/model.safetensors'][name.removeprefix('projector.')] = value
        else:
            files['llm/model.safetensors'][name] = value
    # SiglipVisionModel always has this norm; VILA reads the features before it.
    norm = torch.ones(model.shape.vision_hidden, dtype=torch.float16)
    tower = files['vision_tower/model.safetensors']
    tower['vision_model.post_layernorm.weight'] = norm
    tower['vision_model.post_layernorm.bias'] = torch.zeros_like(norm)
    for path, tensors in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / path, metadata={'format': 'pt'})
    for path, config in _configs(model.shape).items():
        (folder / path).write_text(json.dumps(config, indent=2) + '\n')
    return sum((folder / path).stat().st_size for path in files)


def load_checkpoint(folder: Path) -> VisionLanguage:
    """Reads a folder that save_checkpoint wrote; float32 on the CPU, in eval mode."""
    folder = Path(folder)
    llm = json.loads((folder / 'llm/config.json').read_text())
    vis = json.loads((folder / 'vision_tower/config.json').read_text())
    shape = Shape(image=vis['image_size'], patch=vis['patch_size'],
                  vision_hidden=vis['hidden_size'], vision_layers=vis['num_hidden_layers'],
                  vision_heads=vis['num_attention_heads'], vision_inter=vis['intermediate_size'],
                  hidden=llm['hidden_size'], layers=llm['num_hidden_layers'],
                  heads=llm['num_attention_heads'], inter=llm['intermediate_size'],
                  vocab=llm['vocab_size'], context=llm['max_position_embeddings'],
                  rope_theta=llm['rope_theta'], rms_eps=llm['rms_norm_eps'])
    model = VisionLanguage(shape)
    state = dict(load_file(folder / 'llm/model.safetensors'))
    for name, value in load_file(folder / 'vision_tower/model.safetensors').items():
        if 'post_layernorm' not in name:
            short = name.removeprefix('vision_model.')
            state['vision.' + short.removeprefix('encoder.').removeprefix('embeddings.')] = value
    for name, value in load_file(folder / 'mm_projector/model.safetensors').items():
        state['projector.' + name] = value
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return model.eval()
