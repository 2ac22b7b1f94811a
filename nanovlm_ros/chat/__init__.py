# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A conversation on a terminal; `nanovlm chat` is its command."""
