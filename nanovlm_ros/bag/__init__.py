# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Offline evaluation: the same engine on recorded data, without ROS."""
