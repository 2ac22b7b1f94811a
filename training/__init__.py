# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Trains, evaluates and exports the demo model; nothing here is needed to run the node."""
