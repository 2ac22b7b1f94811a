# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a CPU is to do beside the decoder: the products and the attention of vision, in int8."""
from typing import Dict

import tvm

from nanovlm_ros.mlc.kernels.cpu.attention_int8 import attend, pack_keys
from nanovlm_ros.mlc.kernels.cpu.dot_int8 import best
from nanovlm_ros.mlc.kernels.cpu.linear_tiles import linear_tiles
from nanovlm_ros.mlc.kernels.cpu.names import (
    ATTEND, FUSED, MULTIPLY, PACK_KEYS, quantize_name)
from nanovlm_ros.mlc.kernels.cpu.quantize import quantize_tiles


def functions(target: tvm.target.Target) -> Dict[str, tvm.tirx.PrimFunc]:
    """Return the functions of `mlc.cpu_companion` by name."""
    dot = best(target)
    return {MULTIPLY: linear_tiles(dot), PACK_KEYS: pack_keys(), ATTEND: attend(dot),
            **{quantize_name(name): quantize_tiles(name) for name in FUSED}}
