# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the modules of vision are, of what type, and what becomes of their matrices."""
from dataclasses import dataclass
from typing import Callable, Optional

import torch
from torch import nn

from nanovlm_ros.models.quantized_linear import quantized_bytes

CPU = torch.device('cpu')


@dataclass(frozen=True)
class Placement:
    """How a module that was built on the meta device gets its memory, part by part.

    `linear` makes what takes the place of a matrix that has its weights; without one all
    matrices stay as they are.
    """

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    linear: Optional[Callable[[nn.Linear], nn.Module]] = None

    @classmethod
    def on(cls, device: torch.device, linear: Optional[Callable[[nn.Linear], nn.Module]] = None
           ) -> 'Placement':
        """Return that of a device: float32 on a CPU, float16 on a GPU.

        CLIP and SigLIP are published in float16.
        """
        return cls(device, torch.float16 if device.type == 'cuda' else torch.float32, linear)

    def allocate(self, module: nn.Module, recurse: bool = True) -> nn.Module:
        """Give a module memory that holds nothing yet; without `recurse`, not to its parts."""
        return module.to(self.dtype).to_empty(device=self.device, recurse=recurse)

    def finish(self, module: nn.Module) -> nn.Module:
        """Make a module that has its weights ready to be run only; its matrices are replaced."""
        for name, part in module.named_children():
            replace = self.linear is not None and isinstance(part, nn.Linear)
            setattr(module, name, self.linear(part) if replace else self.finish(part))
        return module.eval().requires_grad_(False)

    def nbytes(self, module: nn.Module) -> int:
        """Return the bytes that a module will take; it may be on the meta device."""
        quantized = {} if self.linear is None else {
            id(part.weight): quantized_bytes(part) for part in module.modules()
            if isinstance(part, nn.Linear)}
        return sum(quantized.get(id(p), p.numel() * self.dtype.itemsize)
                   for p in module.parameters())
