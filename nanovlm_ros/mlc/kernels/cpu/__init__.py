# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""TIR kernels, in vectors of 16 lanes, with the integer dot products that the CPU has."""
