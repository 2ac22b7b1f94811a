# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""TIR kernels, written as 16-lane vector code that LLVM lowers for any CPU."""
