# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a GPU is to do beside the decoder: write matrices of vision out, draw tokens."""
from typing import Dict

import tvm

from nanovlm_ros.mlc.cuda.names import SAMPLE, UNPACK
from nanovlm_ros.mlc.kernels.cuda import kernels


def functions(target: tvm.target.Target) -> Dict[str, tvm.tirx.PrimFunc]:
    """Return the functions of `mlc.cuda.companion` by name."""
    return {SAMPLE: kernels.sample(), UNPACK: kernels.int8_unpack()}
