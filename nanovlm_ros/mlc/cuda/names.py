# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Functions by name: what a decoder's library asks of the process, and what a companion offers."""
# Asked for; see `torch_functions`.
MATMUL = 'nanovlm.cuda.matmul'
ATTENTION = 'nanovlm.cuda.attention'

# Offered; see `companion`.
SAMPLE, UNPACK = 'sample', 'int8_unpack'
