# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small vision models of transformers with random weights, and the checkpoints they would be."""
from types import SimpleNamespace

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration,
    LlavaNextConfig, LlavaNextForConditionalGeneration, SiglipVisionConfig, SiglipVisionModel)

from nanovlm_ros.models.weights import Weights, open_weights

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
PINPOINTS = [[1, 2], [2, 1], [2, 2], [3, 1], [1, 3]]  # of LLaVA-1.6, (width, height) in tiles
HIDDEN = 24  # of the language model


def stored(folder, tensors) -> Weights:
    """Return tensors as a checkpoint folder gives them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()},
              folder / 'model.safetensors')
    return open_weights(folder)


def pinpoints(size):
    """LLaVA-1.6's resolutions for tiles of `size` pixels, as its config.json gives them."""
    return [[width * size, height * size] for width, height in PINPOINTS]


def siglip(size=56, patch=14, **changes) -> SiglipVisionModel:
    torch.manual_seed(1)
    sizes = dict(image_size=size, patch_size=patch, hidden_size=48, intermediate_size=80,
                 num_hidden_layers=3, num_attention_heads=4)
    config = SiglipVisionConfig(**{**sizes, **changes}, vision_use_head=False)
    return _lively(SiglipVisionModel(config))


def clip(size=56, patch=14, **changes) -> CLIPVisionModel:
    torch.manual_seed(2)
    return _lively(CLIPVisionModel(_clip_config(size, patch, **changes)))


def llava(size=56, patch=14) -> LlavaForConditionalGeneration:
    """LLaVA-1.5: all views are one, class tokens are left out."""
    torch.manual_seed(3)
    return _lively(LlavaForConditionalGeneration(LlavaConfig(
        vision_config=_clip_config(size, patch), text_config=_text_config(), image_token_id=90,
        vision_feature_layer=-2, vision_feature_select_strategy='default')))


def llava_next(size=56, patch=14) -> LlavaNextForConditionalGeneration:
    """LLaVA-1.6: tiles, whose resolutions transformers takes for (height, width)."""
    torch.manual_seed(4)
    return _lively(LlavaNextForConditionalGeneration(LlavaNextConfig(
        vision_config=_clip_config(size, patch), text_config=_text_config(), image_token_id=90,
        vision_feature_layer=-2, vision_feature_select_strategy='default',
        image_grid_pinpoints=[[height, width] for width, height in pinpoints(size)])))


def checkpoint(folder, tower, projector, **changes):
    """Return what an encoder reads of a checkpoint with this tower and these tensors."""
    fields = dict(
        path=folder, vision=tower.config.to_dict(), llm={'hidden_size': HIDDEN},
        projector_type='mlp2x_gelu', select_layer=-2, keep_class_token=False,
        aspect_ratio='pad', grid_pinpoints=[], unpad=False, image_mean=CLIP_MEAN,
        image_std=CLIP_STD, image_newline=lambda: None,
        vision_weights=lambda: stored(folder / 'vision', tower.state_dict()),
        projector_weights=lambda: stored(folder / 'projector', projector))
    return SimpleNamespace(**{**fields, **changes})


def llava_checkpoint(folder, model, **changes):
    """Return the checkpoint of `llava()` or `llava_next()`, with LLaVA's own tensor names."""
    projector = {name.replace('linear_1', '0').replace('linear_2', '2'): tensor for name, tensor
                 in model.model.multi_modal_projector.state_dict().items()}
    if isinstance(model, LlavaNextForConditionalGeneration):
        size = model.config.vision_config.image_size
        changes = {'aspect_ratio': 'anyres', 'grid_pinpoints': pinpoints(size), 'unpad': True,
                   'image_newline': lambda: model.model.image_newline.detach().half(), **changes}
    return checkpoint(folder, model.model.vision_tower, projector, **changes)


def _clip_config(size, patch, **changes):
    sizes = dict(image_size=size, patch_size=patch, hidden_size=32, intermediate_size=64,
                 num_hidden_layers=3, num_attention_heads=4)
    return CLIPVisionConfig(**{**sizes, **changes})


def _text_config():
    return LlamaConfig(hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=1,
                       num_attention_heads=2, vocab_size=100)


@torch.no_grad()
def _lively(model):
    """Give every parameter random values, float16 ones as published: zeros would hide mistakes."""
    for name, parameter in model.named_parameters():
        spread = 0.3 if parameter.ndim > 1 else 0.5
        middle = 1.0 if 'norm' in name and name.endswith('weight') else 0.0
        parameter.copy_((middle + spread * torch.randn(parameter.shape)).half())
    return model.eval()
