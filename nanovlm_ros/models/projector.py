# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From vision features to the language model's embedding space."""
import re
from typing import List

import torch
from torch import nn
from torch.nn import functional

from nanovlm_ros.models.fill import fill, without_prefix
from nanovlm_ros.models.placement import Placement, allocate
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.models.weights import Weights

SUPPORTED = 'linear, mlp2x_gelu (any number of layers), mlp_downsample'


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


def empty_projector(kind: str, vision_hidden: int, hidden: int) -> nn.Sequential:
    """Return the projector of a kind without memory for its weights. Raises MODEL_ERROR."""
    with torch.device('meta'):  # no time for random numbers that are overwritten
        return nn.Sequential(*_layers(kind, vision_hidden, hidden))


def build_projector(kind: str, weights: Weights, vision_hidden: int, hidden: int,
                    place: Placement = Placement()) -> nn.Sequential:
    """Return the projector of `mm_projector_type`: (n, tokens, vision_hidden) -> (n, rows, hidden).

    Its parameters are as `place` has them, whatever the checkpoint's are. Tensors are named
    `N.weight` and `N.bias` by the number of their layer, with `layers.` before it or not; those of
    `linear`, which has one layer, may do without the number. Raises NanoVlmError(MODEL_ERROR) for
    a kind that is unknown, and for a tensor that is missing, too many, or of another shape.
    """
    projector = allocate(empty_projector(kind, vision_hidden, hidden))
    weights = without_prefix(weights, 'layers.')
    unnumbered = kind == 'linear' and 'weight' in weights
    targets = {name.removeprefix('0.') if unnumbered else name: parameter
               for name, parameter in projector.named_parameters()}
    for name, parameter in targets.items():
        fill(parameter, weights, name)
    unknown = [name for name in weights.names if name not in targets]
    if unknown:
        raise broken(f'The tensor {unknown[0]!r} in {weights.file(unknown[0])} has no place in a '
                     f'projector of type {kind!r}: mm_projector_type is that of another model.')
    return place.finish(projector)


def tokens_per_image(kind: str, patches: int) -> int:
    """Rows that the language model gets for an image of `patches` vision tokens."""
    if kind == 'mlp_downsample':
        side = round(patches ** 0.5)
        return ((side + 1) // 2) ** 2
    return patches


def _layers(kind: str, vision_hidden: int, hidden: int) -> List[nn.Module]:
    if kind == 'mlp_downsample':
        wide = 4 * vision_hidden
        return [Downsample(), nn.LayerNorm(wide), nn.Linear(wide, hidden), nn.GELU(),
                nn.Linear(hidden, hidden)]
    mlp = re.fullmatch(r'mlp([1-9]\d?)x_gelu', kind)
    if kind != 'linear' and not mlp:
        raise broken(f'The projector type {kind!r} is not supported; supported: {SUPPORTED}.')
    layers: List[nn.Module] = [nn.Linear(vision_hidden, hidden)]
    for _ in range(int(mlp.group(1)) - 1 if mlp else 0):
        layers += [nn.GELU(), nn.Linear(hidden, hidden)]
    return layers
