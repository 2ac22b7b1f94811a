# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Functions that the library beside a decoder has on a CPU; see `mlc.cpu_companion`."""
MULTIPLY = 'multiply'
FUSED = '', 'gelu_pytorch_tanh', 'quick_gelu'  # by the names that transformers has for them


def quantize_name(activation: str) -> str:
    """Return what the function is called that quantises act(x)."""
    return f'quantize_{activation}'
