# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainable model: a SigLIP tower, the VILA-1.5 projector and a Llama decoder.

Parameter names equal those of the exported safetensors files, so that export is a plain copy. The
decoder takes an arbitrary boolean attention mask, which lets one image prefix serve many questions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.quantize import fake_quantize


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; the defaults are the ones that ship (11.6 million parameters)."""

    image: int = 256
    patch: int = 16
    vision_hidden: int = 256
    vision_layers: int = 8
    vision_heads: int = 4
    vision_inter: int = 1024
    hidden: int = 256
    layers: int = 5
    heads: int = 4
    inter: int = 704
    vocab: int = 1280
    context: int = 2048
    rope_theta: float = 10000.0
    rms_eps: float = 1e-5

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image // self.patch

    @property
    def image_tokens(self) -> int:
        """Embeddings that one image takes in the prompt."""
        return ((self.grid + 1) // 2) ** 2

    def as_dict(self) -> dict:
        """A plain dict, for checkpoints."""
        return asdict(self)


class VisionLayer(nn.Module):
    """One pre-norm encoder layer of SigLIP."""

    def __init__(self, s: Shape):
        super().__init__()
        c = s.vision_hidden
        self.heads = s.vision_heads
        self.layer_norm1 = nn.LayerNorm(c, eps=1e-6)
        self.self_attn = nn.ModuleDict({n: nn.Linear(c, c) for n in
                                        ('q_proj', 'k_proj', 'v_proj', 'out_proj')})
        self.layer_norm2 = nn.LayerNorm(c, eps=1e-6)
        self.mlp = nn.ModuleDict({'fc1': nn.Linear(c, s.vision_inter),
                                  'fc2': nn.Linear(s.vision_inter, c)})

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        b, t, c = x.shape
        a, h = self.self_attn, self.layer_norm1(x)
        q, k, v = (a[n](h).view(b, t, self.heads, -1).transpose(1, 2)
                   for n in ('q_proj', 'k_proj', 'v_proj'))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
        x = x + a['out_proj'](h)
        h = F.gelu(self.mlp['fc1'](self.layer_norm2(x)), approximate='tanh')
        return x + self.mlp['fc2'](h)


class VisionTower(nn.Module):
    """SigLIP encoder; its output is the last layer's, before the final norm (which is unused)."""

    def __init__(self, s: Shape):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, s.vision_hidden, s.patch, s.patch)
        self.position_embedding = nn.Embedding(s.grid ** 2, s.vision_hidden)
        self.layers = nn.ModuleList(VisionLayer(s) for _ in range(s.vision_layers))

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 3, S, S] in -1..1 -> [N, patches, C]."""
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        x = x + self.position_embedding.weight
        for layer in self.layers:
            x = layer(x)
        return x


def gather_neighbours(x: Tensor) -> Tensor:
    """Concatenates 2x2 neighbours of a square token grid, as the VILA-1.5 projector does.

    [N, g*g, C] -> [N, ceil(g/2)**2, 4C]. A grid of odd size gets a zero row and column. The output
    runs down the columns first; channels are (top left, top right, bottom left, bottom right).
    """
    n, t, c = x.shape
    g = int(t ** 0.5)
    x = x.view(n, g, g, c)
    if g % 2:
        x = F.pad(x, (0, 0, 0, 1, 0, 1))
        g += 1
    x = x.view(n, g // 2, 2, g // 2, 2, c).permute(0, 3, 1, 2, 4, 5)
    return x.reshape(n, (g // 2) ** 2, 4 * c)


class Projector(nn.Module):
    """mlp_downsample: neighbours, LayerNorm, Linear, GELU, Linear."""

    def __init__(self, s: Shape):
        super().__init__()
        c = 4 * s.vision_hidden
        self.layers = nn.ModuleDict({'1': nn.LayerNorm(c), '2': nn.Linear(c, s.hidden),
                                     '4': nn.Linear(s.hidden, s.hidden)})

    def forward(self, x: Tensor) -> Tensor:
        """[N, patches, C] -> [N, image_tokens, hidden]."""
        x = self.layers['2'](self.layers['1'](gather_neighbours(x)))
        return self.layers['4'](F.gelu(x))


class RMSNorm(nn.Module):
    """Root mean square norm, computed in float32."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and dtype as x."""
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps).to(x.dtype)


class QuantLinear(nn.Linear):
    """A linear layer without bias that can be made to see its weights as 4-bit ones."""

    quantized = False

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return F.linear(x, fake_quantize(self.weight) if self.quantized else self.weight)


class DecoderLayer(nn.Module):
    """One Llama layer."""

    def __init__(self, s: Shape):
        super().__init__()
        h = s.hidden
        self.heads = s.heads
        self.input_layernorm = RMSNorm(h, s.rms_eps)
        self.self_attn = nn.ModuleDict({n: QuantLinear(h, h, bias=False) for n in
                                        ('q_proj', 'k_proj', 'v_proj', 'o_proj')})
        self.post_attention_layernorm = RMSNorm(h, s.rms_eps)
        self.mlp = nn.ModuleDict({'gate_proj': QuantLinear(h, s.inter, bias=False),
                                  'up_proj': QuantLinear(h, s.inter, bias=False),
                                  'down_proj': QuantLinear(s.inter, h, bias=False)})

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, H]; cos, sin [B, 1, T, D]; mask [B, 1, T, T], True where attended."""
        b, t, c = x.shape
        a, h = self.self_attn, self.input_layernorm(x)
        q, k, v = (a[n](h).view(b, t, self.heads, -1).transpose(1, 2)
                   for n in ('q_proj', 'k_proj', 'v_proj'))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + a['o_proj'](h.transpose(1, 2).reshape(b, t, c))
        h, m = self.post_attention_layernorm(x), self.mlp
        return x + m['down_proj'](F.silu(m['gate_proj'](h)) * m['up_proj'](h))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of [B, heads, T, D], halves rotated as in Llama."""
    a, b = x.chunk(2, -1)
    return (x * cos + torch.cat((-b, a), -1) * sin).to(x.dtype)


class Decoder(nn.Module):
    """Llama decoder without its output layer."""

    def __init__(self, s: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(s.vocab, s.hidden)
        self.layers = nn.ModuleList(DecoderLayer(s) for _ in range(s.layers))
        self.norm = RMSNorm(s.hidden, s.rms_eps)


class VisionLanguage(nn.Module):
    """The whole model. `quantize(True)` switches the decoder to 4-bit weights with gradients."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.vision = VisionTower(shape)
        self.projector = Projector(shape)
        self.model = Decoder(shape)
        self.lm_head = QuantLinear(shape.hidden, shape.vocab, bias=False)
        self.quantized = False
        half = shape.hidden // shape.heads // 2
        inv = shape.rope_theta ** (-torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer('inv_freq', inv, persistent=False)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.02)
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)
        for stack, names in ((self.vision.layers, ('out_proj', 'fc2')),
                             (self.model.layers, ('o_proj', 'down_proj'))):
            for name, m in stack.named_modules():
                if name.rsplit('.', 1)[-1] in names:
                    nn.init.normal_(m.weight, std=0.02 / (2 * len(stack)) ** 0.5)

    def quantize(self, on: bool) -> None:
        """Makes the decoder, its embedding table and lm_head see 4-bit weights."""
        self.quantized = on
        for m in self.modules():
            if isinstance(m, QuantLinear):
                m.quantized = on

    def embed(self, tokens: Tensor) -> Tensor:
        """[B, T] -> [B, T, hidden]."""
        table = self.model.embed_tokens.weight
        return F.embedding(tokens, fake_quantize(table) if self.quantized else table)

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, S, S] -> patch features [N, patches, C] and embeddings [N, image_tokens, H]."""
        feats = self.vision(pixels)
        return feats, self.projector(feats)

    def decode(self, tokens: Tensor, images: Tensor, is_image: Tensor, positions: Tensor,
               mask: Tensor) -> Tensor:
        """Final hidden states [B, T, H]; images fill the True places of is_image in order."""
        x = self.embed(tokens)
        x = x.to(images.dtype).masked_scatter(is_image[..., None], images)
        angle = positions[..., None].float() * self.inv_freq
        angle = torch.cat((angle, angle), -1)[:, None]
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)
