# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws what a mobile robot's camera could see, with the ground truth beside it."""
