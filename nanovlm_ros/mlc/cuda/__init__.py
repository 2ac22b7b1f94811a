# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA GPUs: the compiler of their code, and TVM's runtime for them."""
