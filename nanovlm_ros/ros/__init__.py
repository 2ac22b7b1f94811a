# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node; the only package here that imports rclpy."""
