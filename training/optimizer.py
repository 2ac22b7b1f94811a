# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Muon for the hidden matrices and AdamW for everything else, under one learning rate."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn


def orthogonalise(g: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrices to g [n, rows, cols], by five Newton-Schulz steps."""
    x = g.bfloat16() if g.is_cuda else g.float()
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * (s @ s)) @ x
    return (x if wide else x.mT).float()


class Optimizer:
    """Steps all parameters of a model; matrices of one shape are orthogonalised together."""

    def __init__(self, model: nn.Module, decay: float = .05, momentum: float = .95):
        self.decay, self.momentum = decay, momentum
        groups: dict[tuple, list[nn.Parameter]] = defaultdict(list)
        rest, bare = [], []
        for name, p in model.named_parameters():
            hidden = p.ndim == 2 and '.layers.' in name and name.endswith('weight')
            if hidden:
                groups[tuple(p.shape)].append(p)
            elif p.ndim >= 2 and 'position' not in name:
                rest.append(p)
            else:
                bare.append(p)
        self.groups = list(groups.values())
        self.buffers = [torch.zeros(len(g), *g[0].shape, device=g[0].device) for g in self.groups]
        fused = next(model.parameters()).is_cuda
        self.adam = torch.optim.AdamW([{'params': rest, 'weight_decay': .01},
                                       {'params': bare, 'weight_decay': 0.0}], lr=0.0,
                                      betas=(.9, .98), fused=fused)
        self.parameters = [p for p in model.parameters()]

    @torch.no_grad()
    def step(self, lr: float, clip: float = 1.0) -> float:
        """One step; returns the gradient's norm before clipping, and clears the gradients."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters, clip))
        if norm == norm and norm < 1e4:
            for group, buffer in zip(self.groups, self.buffers):
                g = torch.stack([p.grad.float() for p in group])
                buffer.lerp_(g, 1 - self.momentum)
                update = orthogonalise(g.lerp(buffer, self.momentum))
                update *= .2 * max(update.shape[-2:]) ** .5
                for p, u in zip(group, update):
                    p.mul_(1 - lr * self.decay).add_(u, alpha=-lr)
            for g in self.adam.param_groups:
                g['lr'] = lr
            self.adam.step()
        for p in self.parameters:
            p.grad = None
        return norm
