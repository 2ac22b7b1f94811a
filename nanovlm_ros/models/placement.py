# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the modules of vision are, of what type, and what becomes of their parts."""
from dataclasses import dataclass
from typing import Callable, Optional

import torch
from torch import nn

from nanovlm_ros.models.attention import Attention
from nanovlm_ros.models.quantized_linear import quantized_bytes

CPU = torch.device('cpu')


@dataclass(frozen=True)
class Placement:
    """A device and the type of what has one.

    `linear` makes what takes the place of a matrix, `attention` that of attention.
    Modules are built on the meta device, get their weights on the CPU, part by part, and are
    finished then: nothing but what stays is ever on a GPU.
    """

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    linear: Optional[Callable[[nn.Linear], nn.Module]] = None
    attention: Optional[Callable[[Attention], nn.Module]] = None

    @classmethod
    def on(cls, device: torch.device, **replacements) -> 'Placement':
        """Return that of a device: float32 on a CPU, float16 on a GPU.

        CLIP and SigLIP are published in float16. `replacements` are `linear` and `attention`.
        """
        return cls(device, torch.float16 if device.type == 'cuda' else torch.float32,
                   **replacements)

    def finish(self, module: nn.Module) -> nn.Module:
        """Put a module that has its weights in its place, and replace its parts.

        What is there already stays as it is.
        """
        for name, part in module.named_children():
            if self.linear is not None and isinstance(part, nn.Linear):
                part = self.linear(part)
            elif self.attention is not None and isinstance(part, Attention):
                part = self.attention(part)
            setattr(module, name, self.finish(part))
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(
                parameter.to(self.device, self.dtype), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(self.device))
        return module

    def nbytes(self, module: nn.Module) -> int:
        """Return the bytes that a module will take; it may be on the meta device."""
        quantized = {} if self.linear is None else {
            id(part.weight): quantized_bytes(part) for part in module.modules()
            if isinstance(part, nn.Linear)}
        return sum(quantized.get(id(p), p.numel() * self.dtype.itemsize)
                   for p in module.parameters())


def allocate(module: nn.Module, recurse: bool = True) -> nn.Module:
    """Give a module memory on the CPU that holds nothing yet; without `recurse`, not to its parts.

    `to_empty` of a module on the meta device would import sympy: 50 MiB of a robot's memory.
    """
    for part in module.modules() if recurse else [module]:
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(
                torch.empty(parameter.shape, dtype=torch.float32), requires_grad=False))
    return module
