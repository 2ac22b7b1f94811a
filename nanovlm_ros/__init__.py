# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Vision-language models on robots: 4-bit TVM inference behind a ROS 2 node."""
from pkgutil import extend_path

# The generated msg, srv and action modules may live in another directory.
__path__ = extend_path(__path__, __name__)
