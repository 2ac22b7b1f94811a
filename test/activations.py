# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What int8 activations are, for a reference of other people's code."""
import torch


def as_int8(rows: torch.Tensor) -> torch.Tensor:
    """Round each group of 32 to 127 steps of its largest."""
    groups = rows.reshape(*rows.shape[:-1], -1, 32)
    largest = groups.abs().amax(-1, keepdim=True)
    return (torch.round(groups * (127 / largest.clamp_min(1e-30))) * (largest / 127)).reshape(
        rows.shape)


def round_activations(model: torch.nn.Module) -> None:
    """Have every matrix of a model multiply with `as_int8` of what it is given."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, arguments: (as_int8(arguments[0]),))
