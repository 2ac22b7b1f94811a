# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which instruction sets of the kernels this machine has."""
from tvm.target import codegen

from nanovlm_ros.mlc.compile import host_target
from nanovlm_ros.mlc.kernels.cpu import dot_int8 as dots


def runs_here(dot: dots.DotInt8) -> bool:
    """Whether this machine has the instructions; 512-bit VNNI comes with the 256-bit form."""
    target = host_target()
    return codegen.llvm_cpu_has_features(list(dot.instructions.features), target) or (
        dot is dots.VNNI_256
        and codegen.llvm_cpu_has_features(['avx512vnni', 'avx512vl'], target))
