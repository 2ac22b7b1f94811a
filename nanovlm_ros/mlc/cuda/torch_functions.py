# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a compiled decoder asks of torch on a GPU: large products (cuBLAS) and attention.

They are called by name from within a library's functions (`kernels.cuda.ops`), with arrays of
TVM that torch reads and writes in place, on the stream that both use.
"""
from functools import lru_cache

import torch
from torch.backends.cuda import is_flash_attention_available
from torch.nn.functional import scaled_dot_product_attention

from nanovlm_ros.mlc.cuda.names import ATTENTION, MATMUL

FLASH = 256  # dimensions of a head that flash attention takes, at most


@lru_cache
def register() -> None:
    """Give TVM the functions."""
    import tvm_ffi

    tvm_ffi.register_global_func(MATMUL, _matmul, override=True)
    tvm_ffi.register_global_func(ATTENTION, _attention, override=True)


def _matmul(x, weight, out) -> None:
    """out (m, n) = x (m, k) weight (n, k)^T; x and weight are float16, out that or float32."""
    x, weight, out = map(torch.from_dlpack, (x, weight, out))
    if out.dtype == x.dtype:
        torch.mm(x, weight.t(), out=out)
    else:
        out.copy_(torch.mm(x, weight.t()))


def _attention(query, key, value, span, out) -> None:
    """Causal attention of each sequence's last rows over all of its rows; float16.

    query (m, heads, d), key and value (sequences, length, kv_heads, d), out (m, heads * d); span
    (sequences, 3) int32 in the host's memory: first row, rows, length.
    """
    query, key, value, span, out = map(torch.from_dlpack, (query, key, value, span, out))
    for i, (first, rows, length) in enumerate(span.tolist()):
        attended = _causal(
            query[None, first:first + rows].transpose(1, 2), key[i:i + 1, :length].transpose(1, 2),
            value[i:i + 1, :length].transpose(1, 2))
        out[first:first + rows].view(rows, *query.shape[1:]).copy_(attended[0].transpose(0, 1))


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention (1, heads, rows, d) of the last rows of a sequence.

    is_causal of scaled_dot_product_attention would take them to be its first ones; what
    torch.nn.attention has for that imports torch's compiler, 70 MiB and a second of a start.
    """
    if is_flash_attention_available() and query.shape[-1] <= FLASH:
        return torch.ops.aten._scaled_dot_product_flash_attention(
            query, key, value, is_causal=True)[0]
    rows, length = query.shape[2], key.shape[2]
    seen = torch.ones((rows, length), dtype=torch.bool, device=query.device).tril(length - rows)
    return scaled_dot_product_attention(query, key, value, seen, enable_gqa=True)
