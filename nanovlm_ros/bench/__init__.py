# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements of the engine and of its peers; without ROS."""
