# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a library for CUDA asks of the process that loads it, by name; see `torch_functions`."""
MATMUL = 'nanovlm.cuda.matmul'
ATTENTION = 'nanovlm.cuda.attention'
