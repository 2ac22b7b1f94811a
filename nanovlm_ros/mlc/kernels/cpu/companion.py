# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a CPU is to do beside the decoder: the products of vision, in int8."""
from typing import Dict

import tvm

from nanovlm_ros.mlc.kernels.cpu.dot_int8 import best
from nanovlm_ros.mlc.kernels.cpu.linear_tiles import linear_tiles
from nanovlm_ros.mlc.kernels.cpu.names import FUSED, MULTIPLY, quantize_name
from nanovlm_ros.mlc.kernels.cpu.quantize import quantize_tiles


def functions(target: tvm.target.Target) -> Dict[str, tvm.tirx.PrimFunc]:
    """Return the functions of `mlc.cpu_companion` by name."""
    return {MULTIPLY: linear_tiles(best(target)),
            **{quantize_name(name): quantize_tiles(name) for name in FUSED}}
