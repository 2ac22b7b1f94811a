# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The `nanovlm` command; it needs no ROS."""
