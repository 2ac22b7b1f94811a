# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions about scenes in many phrasings, with the answers that are right."""
