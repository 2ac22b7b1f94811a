# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Videos in, windows of their frames asked about, videos with the answers out; no ROS."""
