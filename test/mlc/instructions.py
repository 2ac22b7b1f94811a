# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which instruction sets of the kernels this machine has, and which other CPUs should get."""
from tvm.target import codegen

from nanovlm_ros.mlc.compile import host_target
from nanovlm_ros.mlc.kernels.cpu import dot as dots

# An instruction set, a target whose best it is, and an instruction that tells.
CHOSEN = [
    (dots.VNNI_512, {'mcpu': 'znver4'}, 'vpdpbusd'),
    (dots.VNNI_256, {'mcpu': 'alderlake'}, '{vex} vpdpbusd'),
    (dots.AVX2, {'mcpu': 'haswell'}, 'vpmaddubsw'),
    (dots.NEON, {'mtriple': 'aarch64-linux-gnu', 'mattr': ['+dotprod']}, 'sdot'),
    (dots.PORTABLE, {'mtriple': 'aarch64-linux-gnu'}, 'mla'),
    (dots.PORTABLE, {'mcpu': 'x86-64'}, 'pmullw'),
]


def runs_here(dot: dots.Dot) -> bool:
    """Whether this machine has the instructions; 512-bit VNNI comes with the 256-bit form."""
    target = host_target()
    return codegen.llvm_cpu_has_features(list(dot.features), target) or (
        dot is dots.VNNI_256
        and codegen.llvm_cpu_has_features(['avx512vnni', 'avx512vl'], target))
