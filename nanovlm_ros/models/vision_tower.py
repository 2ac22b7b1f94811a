# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision transformers of SigLIP (Zhai et al., arXiv:2303.15343) and CLIP.

Plain torch over the weights as transformers names them. transformers itself is
the reference in the tests; importing it would cost a node two seconds at start.
"""
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional

from nanovlm_ros.models.activated_linear import FUNCTIONS, ActivatedLinear
from nanovlm_ros.models.attention import Attention
from nanovlm_ros.models.fill import fill, without_prefix
from nanovlm_ros.models.placement import Placement, allocate
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.models.weights import Weights

Levels = Tuple[torch.Tensor, torch.Tensor]  # scale and shift of each colour, (3,)

# What a config.json leaves out: transformers writes only what differs from these.
_SIGLIP = {
    'image_size': 224, 'patch_size': 16, 'hidden_size': 768, 'intermediate_size': 3072,
    'num_hidden_layers': 12, 'num_attention_heads': 12, 'layer_norm_eps': 1e-6,
    'hidden_act': 'gelu_pytorch_tanh'}
_CLIP = {**_SIGLIP, 'patch_size': 32, 'layer_norm_eps': 1e-5, 'hidden_act': 'quick_gelu'}
_DEFAULTS = {'siglip': _SIGLIP, 'siglip_vision_model': _SIGLIP,
             'clip': _CLIP, 'clip_vision_model': _CLIP}


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
        """Read a transformers config; raises NanoVlmError(MODEL_ERROR) for what we cannot run."""
        inner = config.get('vision_config') or config
        kind = inner.get('model_type') or config.get('model_type')
        if kind not in _DEFAULTS:
            raise broken(
                f'The vision tower is a {kind!r}; supported are siglip and clip towers.')
        values = {**_DEFAULTS[kind], **inner}
        for name, default in _DEFAULTS[kind].items():
            value = values[name]
            if type(value) is not type(default) or not isinstance(value, str) and value <= 0:
                raise broken(f'The vision tower has {name} {value!r}; a positive '
                             f'{type(default).__name__} is needed.')
        if values['hidden_act'] not in FUNCTIONS:
            raise broken(f'The vision tower uses {values["hidden_act"]!r}; '
                         f'supported: {", ".join(filter(None, FUNCTIONS))}.')
        if values['hidden_size'] % values['num_attention_heads']:
            raise broken(f'The vision tower has hidden_size {values["hidden_size"]}, which its '
                         f'{values["num_attention_heads"]} attention heads cannot share evenly.')
        return cls(
            image_size=values['image_size'], patch_size=values['patch_size'],
            hidden=values['hidden_size'], intermediate=values['intermediate_size'],
            layers=values['num_hidden_layers'], heads=values['num_attention_heads'],
            norm_eps=values['layer_norm_eps'], activation=values['hidden_act'],
            clip=_DEFAULTS[kind] is _CLIP)

    @property
    def side(self) -> int:
        """Patches along one side of the image; pixels beyond the last whole one are not seen."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return self.side ** 2


class _Layer(nn.Module):
    def __init__(self, shape: VisionShape):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(shape.hidden, shape.norm_eps)
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.attention = Attention(shape.heads, shape.hidden // shape.heads)
        self.out_proj = nn.Linear(shape.hidden, shape.hidden)
        self.layer_norm2 = nn.LayerNorm(shape.hidden, shape.norm_eps)
        self.fc1 = nn.Linear(shape.hidden, shape.intermediate)
        self.fc2 = ActivatedLinear(shape.activation, shape.intermediate, shape.hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.out_proj(self.attention(self.qkv(self.layer_norm1(x))))
        return x + self.fc2(self.fc1(self.layer_norm2(x)))


class VisionTower(nn.Module):
    """Features of hidden layer `select_layer`, counted as transformers counts them.

    0 is the embedding, -1 the last layer; layers after the selected one are
    neither built nor loaded. `keep_class_token` matters to CLIP alone.
    """

    def __init__(self, shape: VisionShape, select_layer: int, keep_class_token: bool):
        super().__init__()
        depth = select_layer if select_layer >= 0 else shape.layers + 1 + select_layer
        if not 0 <= depth <= shape.layers:
            raise broken(f'mm_vision_select_layer is {select_layer}, but the tower has '
                         f'{shape.layers} layers: the configuration is that of another tower.')
        self.shape, self.keep_class_token = shape, keep_class_token
        self.patch_embedding = nn.Conv2d(3, shape.hidden, shape.patch_size, shape.patch_size,
                                         bias=not shape.clip)
        # Not `nn.Embedding(...)`, whose random numbers load torch's compiler on a meta device.
        self.position_embedding = nn.Embedding.from_pretrained(
            torch.empty(shape.patches + shape.clip, shape.hidden))
        if shape.clip:
            self.class_embedding = nn.Parameter(torch.empty(shape.hidden))
            self.pre_layrnorm = nn.LayerNorm(shape.hidden, shape.norm_eps)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(depth))

    @property
    def tokens(self) -> int:
        """Feature vectors of an image."""
        return self.shape.patches + (self.shape.clip and self.keep_class_token)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels (n, 3, size, size) -> features (n, tokens, hidden), of the type of the weights.

        Pixels are normalised, or levels of 0 to 255 after `take_levels`.
        """
        x = self._embed_patches(pixels)
        if self.shape.clip:
            x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
        x = x + self.position_embedding.weight
        if self.shape.clip:
            x = self.pre_layrnorm(x)
        for layer in self.layers:
            x = layer(x)
        return x[:, 1:] if self.shape.clip and not self.keep_class_token else x

    def _embed_patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """The patch embedding, (n, patches, hidden): patches do not overlap, so it is a product.

        A convolution would bring cuDNN into the process: 100 MiB of a robot's memory.
        """
        side, patch = self.shape.side, self.shape.patch_size
        seen = pixels[:, :, :side * patch, :side * patch]
        patches = seen.reshape(-1, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        return functional.linear(patches.reshape(len(pixels), side ** 2, -1),
                                 self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)

    def take_levels(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        """Have `forward` normalise, to scale x - shift, (3,) each: the patch embedding does both.

        That saves passes over the pixels, and on a GPU the kernels for them.
        """
        embedding = self.patch_embedding
        weight = embedding.weight.detach().double()
        bias = -torch.einsum('ocyx,c->o', weight, shift.double())
        if embedding.bias is not None:
            bias += embedding.bias
        embedding.weight = nn.Parameter((weight * scale[:, None, None]).float())
        embedding.bias = nn.Parameter(bias.float())

    def load(self, weights: Weights, place: Placement, levels: Optional[Levels] = None
             ) -> 'VisionTower':
        """Take the weights of a transformers checkpoint, layer by layer.

        `levels` are for `take_levels`. Raises NanoVlmError(MODEL_ERROR) for a tensor that is
        missing or of another shape.
        """
        weights = without_prefix(weights, 'vision_model.')
        allocate(self, recurse=False)
        for name, part in self.named_children():
            if name != 'layers':
                allocate(part)
        for name, parameter in self.named_parameters():
            if not name.startswith('layers.'):
                fill(parameter, weights,
                     name if name.startswith('pre_layrnorm.') else f'embeddings.{name}')
        if levels is not None:
            self.take_levels(*levels)
        for i, layer in enumerate(self.layers):
            self._load_layer(allocate(layer), weights, f'encoder.layers.{i}')
            place.finish(layer)
        return place.finish(self)

    @staticmethod
    def _load_layer(layer: _Layer, weights: Weights, place: str) -> None:
        for part in ('weight', 'bias'):
            for own, name in zip(getattr(layer.qkv, part).chunk(3), 'qkv'):
                fill(own, weights, f'{place}.self_attn.{name}_proj.{part}')
            for module, name in (
                    (layer.out_proj, 'self_attn.out_proj'), (layer.fc1, 'mlp.fc1'),
                    (layer.fc2, 'mlp.fc2'), (layer.layer_norm1, 'layer_norm1'),
                    (layer.layer_norm2, 'layer_norm2')):
                fill(getattr(module, part), weights, f'{place}.{name}.{part}')


def empty_tower(config: Dict[str, Any], select_layer: int, keep_class_token: bool
                ) -> VisionTower:
    """Return the tower of a transformers config without memory for its weights."""
    with torch.device('meta'):  # no time for random numbers that are overwritten
        return VisionTower(VisionShape.from_config(config), select_layer, keep_class_token)


def build_tower(config: Dict[str, Any], select_layer: int, keep_class_token: bool,
                weights: Weights, place: Placement = Placement(),
                levels: Optional[Levels] = None) -> VisionTower:
    """Return the tower of a transformers config with its weights, to be run only.

    With `levels`, scale and shift, it takes pixels of 0 to 255; see `VisionTower.take_levels`.
    """
    return empty_tower(config, select_layer, keep_class_token).load(weights, place, levels)
