# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""TIR kernels, written as 16-lane vector code that LLVM lowers for any CPU."""
from nanovlm_ros.mlc.kernels.attention import append_rows, attention
from nanovlm_ros.mlc.kernels.elementwise import embedding, layer_norm, rms_norm, silu_mul
from nanovlm_ros.mlc.kernels.linear import linear

__all__ = ['append_rows', 'attention', 'embedding', 'layer_norm', 'linear', 'rms_norm',
           'silu_mul']
