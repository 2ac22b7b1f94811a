# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What one training step computes: light on the pictures, losses, exact answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model import VisionLanguage
from training.pack import KINDS, LETTERS, PAD_SEGMENT, SLOTS

Batch = dict[str, Tensor]


class DenseHeads(nn.Module):
    """Linear heads on the patches that name what is there; they only help to learn to see."""

    def __init__(self, hidden: int):
        super().__init__()
        self.cover = nn.Linear(hidden, len(KINDS) + 1)
        self.centre = nn.Linear(hidden, len(KINDS) + 1)
        self.letters = nn.Linear(hidden, SLOTS * (len(LETTERS) + 1))

    def forward(self, feats: Tensor, batch: Batch) -> Tensor:
        """The sum of the three losses; empty patches count little."""
        flat = F.layer_norm(feats, feats.shape[-1:]).flatten(0, 1)
        total = flat.new_zeros((), dtype=torch.float32)
        for head, name, empty in ((self.cover, 'cover', .3), (self.centre, 'centre', .1),
                                  (self.letters, 'letters', .03)):
            out = head(flat).float()
            target = batch[name].flatten().long()
            out = out.view(target.numel(), -1)
            weight = torch.ones(out.shape[-1], device=out.device)
            weight[0] = empty
            total = total + F.cross_entropy(out, target, weight)
        return total


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in -1..1."""
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def light(pixels: Tensor, raw: Tensor) -> Tensor:
    """Random light, cast, blur and noise on raw pictures (little on the others), normalised."""
    n, dev = len(pixels), pixels.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(n, *shape, 1, 1, device=dev)
    x = pixels.permute(0, 3, 1, 2).float()
    strong = raw.float().view(n, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode='replicate'), 3, 1)
    mix = rand(1) * (rand(1) < .35) * strong
    x = x + (blurred - x) * mix
    ramp = torch.linspace(-.5, .5, x.shape[-1], device=dev)
    slope = (rand(2) - .5) * (.1 + .55 * strong)
    level = 1 + (rand(1) - .5) * (.1 + .4 * strong) - .07 * strong
    gain = level * (1 + slope[:, :1] * ramp + slope[:, 1:] * ramp[:, None])
    x = x * gain * (1 + (rand(3) - .5) * (.02 + .09 * strong))
    x = x + torch.randn_like(x) * (6 * rand(1) * strong)
    return x.clamp(0, 255).round().div(127.5).sub(1)


def attention_bias(batch: Batch, dtype: torch.dtype) -> Tensor:
    """Additive mask [B, 1, T, T]: own branch causally, and the visible part of the prefix."""
    seg, seen = batch['segment'], batch['seen']
    t = seg.shape[1]
    at = torch.arange(t, device=seg.device)
    own = (seg[:, :, None] == seg[:, None]) & (at[:, None] >= at)
    prefix = (seg == 0)[:, None] & (at < seen[:, :, None])
    bias = torch.zeros(own.shape, dtype=dtype, device=seg.device)
    return bias.masked_fill_(~(own | prefix), torch.finfo(dtype).min)[:, None]


def answer_logits(model: VisionLanguage, batch: Batch, images: Tensor,
                  dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """(row, column) of each answer token, and the logits that predict it [answers, vocab]."""
    tokens = batch['tokens'].long()
    is_image = tokens < 0
    hidden = model.decode(tokens.clamp_min(0), images.reshape(-1, images.shape[-1]), is_image,
                          batch['position'].long(), attention_bias(batch, dtype))
    rows, cols = torch.nonzero(batch['skill'], as_tuple=True)
    return rows, cols, model.lm_head(hidden[rows, cols - 1])


def answer_loss(model: VisionLanguage, batch: Batch, images: Tensor,
                dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """(weighted loss sum, weight sum, share of right tokens)."""
    rows, cols, logits = answer_logits(model, batch, images, dtype)
    target = batch['tokens'][rows, cols].long()
    weight = batch['weight'][rows, cols].float()
    loss = F.cross_entropy(logits.float(), target, reduction='none')
    right = (logits.argmax(-1) == target).float().mean()
    return (loss * weight).sum(), weight.sum(), right


@torch.no_grad()
def wrong_answers(model: VisionLanguage, batch: Batch, dtype: torch.dtype,
                  device: str) -> tuple[Tensor, Tensor]:
    """(wrong [B, 256] bool by branch, predicted [B, T]).

    Fed with the right answer so far, a model that gets every token right would also have said the
    whole answer by itself, and one that gets a token wrong would not.
    """
    frames_pixels = batch['pixels']
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        _, images = model.encode(normalise(frames_pixels))
        rows, cols, logits = answer_logits(model, batch, images, dtype)
    said = logits.argmax(-1)
    wrong = said != batch['tokens'][rows, cols]
    out = torch.zeros(len(batch['tokens']), PAD_SEGMENT + 1, dtype=torch.int32, device=rows.device)
    out.index_put_((rows, batch['segment'][rows, cols].long()), wrong.int(), accumulate=True)
    predicted = torch.zeros_like(batch['tokens'], dtype=torch.int64)
    predicted[rows, cols] = said
    return out > 0, predicted
