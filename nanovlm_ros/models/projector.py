# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From vision features to the language model's embedding space."""
from typing import Callable, Dict

import torch
from torch import nn
from torch.nn import functional

from nanovlm_ros.types import ErrorCode, NanoVlmError


class Downsample(nn.Module):
    """2x2 neighbours side by side: (n, side^2, c) -> (n, ceil(side / 2)^2, 4c).

    An odd grid gets a row and a column of zeros. The output runs down the columns,
    and its channels are top left, top right, bottom left, bottom right: the order
    in which VILA-1.5's `mlp_downsample` was trained.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, c = x.shape
        side = round(tokens ** 0.5)
        x = x.view(n, side, side, c)
        x = functional.pad(x, (0, 0, 0, side % 2, 0, side % 2))
        half = (side + 1) // 2
        x = x.view(n, half, 2, half, 2, c).permute(0, 3, 1, 2, 4, 5)
        return x.reshape(n, half * half, 4 * c)


def _mlp_downsample(w: Dict[str, torch.Tensor]) -> nn.Sequential:
    wide, hidden = w['layers.1.weight'].shape[0], w['layers.2.weight'].shape[0]
    return nn.Sequential(Downsample(), nn.LayerNorm(wide), nn.Linear(wide, hidden),
                         nn.GELU(), nn.Linear(hidden, hidden))


_KINDS: Dict[str, Callable[[Dict[str, torch.Tensor]], nn.Sequential]] = {
    'mlp_downsample': _mlp_downsample}


def build_projector(kind: str, weights: Dict[str, torch.Tensor]) -> nn.Sequential:
    """Return the projector of `mm_projector_type`, float32; keys are `layers.N.*`."""
    if kind not in _KINDS:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'The projector type {kind!r} is not supported; supported: {", ".join(_KINDS)}.')
    projector = _KINDS[kind](weights)
    projector.load_state_dict(
        {name.removeprefix('layers.'): tensor.float() for name, tensor in weights.items()})
    return projector


def tokens_per_image(kind: str, patches: int) -> int:
    """Rows that the language model gets for an image of `patches` vision tokens."""
    if kind == 'mlp_downsample':
        side = round(patches ** 0.5)
        return ((side + 1) // 2) ** 2
    return patches
