# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a recorded camera, the node, and questions through ROS 2."""
