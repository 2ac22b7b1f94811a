# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The language model in TVM: quantisation, kernels, compilation, paged cache, runtime."""
