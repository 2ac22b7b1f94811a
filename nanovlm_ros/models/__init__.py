# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint families: what a model folder holds, its prompts, its vision tower."""
