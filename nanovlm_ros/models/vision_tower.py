# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision transformers of SigLIP (Zhai et al., arXiv:2303.15343) and CLIP.

Plain torch over the weights as transformers names them. transformers itself is
the reference in the tests; importing it would cost a node two seconds at start.
"""
from dataclasses import dataclass
from typing import Any, Dict

import torch
from torch import nn
from torch.nn import functional

from nanovlm_ros.types import ErrorCode, NanoVlmError

_ACTIVATIONS = {
    'gelu_pytorch_tanh': lambda x: functional.gelu(x, approximate='tanh'),
    'gelu': functional.gelu,
    'quick_gelu': lambda x: x * torch.sigmoid(1.702 * x),
}


@dataclass(frozen=True)
class VisionShape:
    """Dimensions of a tower, from the `vision_config` of its config.json."""

    image_size: int
    patch_size: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    norm_eps: float
    activation: str
    clip: bool  # a class token, a norm before the layers, no patch bias

    @classmethod
    def from_config(cls, config: Dict[str, Any]) -> 'VisionShape':
        """Read a transformers config; raises KeyError where a dimension is missing."""
        config = config.get('vision_config', config)
        kind = config['model_type']
        activation = config.get('hidden_act', 'gelu_pytorch_tanh')
        if 'clip' not in kind and 'siglip' not in kind:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'The vision tower is a {kind!r}; siglip and clip towers are supported.')
        if activation not in _ACTIVATIONS:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'The vision tower uses {activation!r}; supported: {", ".join(_ACTIVATIONS)}.')
        return cls(
            image_size=config['image_size'], patch_size=config['patch_size'],
            hidden=config['hidden_size'], intermediate=config['intermediate_size'],
            layers=config['num_hidden_layers'], heads=config['num_attention_heads'],
            norm_eps=config.get('layer_norm_eps', 1e-6), activation=activation,
            clip=not kind.startswith('siglip'))

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2


class _Layer(nn.Module):
    def __init__(self, shape: VisionShape):
        super().__init__()
        self.heads, self.activation = shape.heads, _ACTIVATIONS[shape.activation]
        self.layer_norm1 = nn.LayerNorm(shape.hidden, shape.norm_eps)
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.out_proj = nn.Linear(shape.hidden, shape.hidden)
        self.layer_norm2 = nn.LayerNorm(shape.hidden, shape.norm_eps)
        self.fc1 = nn.Linear(shape.hidden, shape.intermediate)
        self.fc2 = nn.Linear(shape.intermediate, shape.hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, hidden = x.shape
        qkv = self.qkv(self.layer_norm1(x)).view(n, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out_proj(attended.transpose(1, 2).reshape(n, tokens, hidden))
        return x + self.fc2(self.activation(self.fc1(self.layer_norm2(x))))


class VisionTower(nn.Module):
    """Features of hidden layer `select_layer`, counted as transformers counts them.

    0 is the embedding, -1 the last layer; layers after the selected one are
    neither built nor loaded. `keep_class_token` matters to CLIP alone.
    """

    def __init__(self, shape: VisionShape, select_layer: int, keep_class_token: bool):
        super().__init__()
        depth = select_layer if select_layer >= 0 else shape.layers + 1 + select_layer
        if not 0 <= depth <= shape.layers:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'mm_vision_select_layer is {select_layer}, but the tower has '
                f'{shape.layers} layers.')
        self.shape, self.keep_class_token = shape, keep_class_token
        self.patch_embedding = nn.Conv2d(3, shape.hidden, shape.patch_size, shape.patch_size,
                                         bias=not shape.clip)
        self.position_embedding = nn.Embedding(shape.patches + shape.clip, shape.hidden)
        if shape.clip:
            self.class_embedding = nn.Parameter(torch.empty(shape.hidden))
            self.pre_layrnorm = nn.LayerNorm(shape.hidden, shape.norm_eps)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(depth))

    @property
    def tokens(self) -> int:
        """Feature vectors of an image."""
        return self.shape.patches + (self.shape.clip and self.keep_class_token)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels (n, 3, size, size) float, normalised -> features (n, tokens, hidden)."""
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        if self.shape.clip:
            x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
        x = x + self.position_embedding.weight
        if self.shape.clip:
            x = self.pre_layrnorm(x)
        for layer in self.layers:
            x = layer(x)
        return x[:, 1:] if self.shape.clip and not self.keep_class_token else x

    def load(self, weights: Dict[str, torch.Tensor]) -> 'VisionTower':
        """Fill in the weights of a transformers checkpoint; raises KeyError by tensor name."""
        named = {name.removeprefix('vision_model.'): t.float() for name, t in weights.items()}
        state = {name: named[f'embeddings.{name}'] for name, _ in self.named_parameters()
                 if name.split('.')[0] in (
                     'patch_embedding', 'position_embedding', 'class_embedding')}
        if self.shape.clip:
            for part in ('weight', 'bias'):
                state[f'pre_layrnorm.{part}'] = named[f'pre_layrnorm.{part}']
        for i in range(len(self.layers)):
            ours, theirs = f'layers.{i}.', f'encoder.layers.{i}.'
            for part in ('weight', 'bias'):
                state[f'{ours}qkv.{part}'] = torch.cat(
                    [named[f'{theirs}self_attn.{p}_proj.{part}'] for p in 'qkv'])
                state[f'{ours}out_proj.{part}'] = named[f'{theirs}self_attn.out_proj.{part}']
                for name in ('layer_norm1', 'layer_norm2'):
                    state[f'{ours}{name}.{part}'] = named[f'{theirs}{name}.{part}']
                for name in ('fc1', 'fc2'):
                    state[f'{ours}{name}.{part}'] = named[f'{theirs}mlp.{name}.{part}']
        self.load_state_dict(state)
        return self
