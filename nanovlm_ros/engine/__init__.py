# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ROS-free engine: one inference thread, its scheduling, decoding and JSON grammar."""
