# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Kernels in CUDA C++, below `source/`, launched by TVM; large matrix products are torch's."""
