# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Functions that the library beside a decoder has on a CPU; see `mlc.cpu_companion`."""
MULTIPLY, PACK_KEYS, ATTEND = 'multiply', 'pack_keys', 'attend'
FUSED = '', 'gelu_pytorch_tanh', 'quick_gelu'  # by the names that transformers has for them
EIGHT = 8  # what dimensions of a head are read by in attention


def quantize_name(activation: str) -> str:
    """Return what the function is called that quantises act(x)."""
    return f'quantize_{activation}'
