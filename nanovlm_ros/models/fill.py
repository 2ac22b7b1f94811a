# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors of a checkpoint on their way into torch modules, one by one."""
import torch

from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.models.weights import Weights


def fill(target: torch.Tensor, weights: Weights, name: str) -> None:
    """Copy the tensor `name` into `target`, whose dtype it takes on.

    Raises NanoVlmError(MODEL_ERROR) if it is missing, no float, or of another shape.
    """
    tensor = weights.floats(name)
    if tensor.shape != target.shape:
        raise broken(
            f'The tensor {name!r} in {weights.file(name)} has the shape {tuple(tensor.shape)}, '
            f'but the configuration asks for {tuple(target.shape)}: the two belong to different '
            'models.')
    with torch.no_grad():
        target.copy_(tensor)


def without_prefix(weights: Weights, prefix: str) -> Weights:
    """Return the tensors below `prefix` by their names behind it; all, if there are none."""
    below = weights.below(prefix)
    return below if below.names else weights
