# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Vision-language models on robots: 4-bit TVM inference behind a ROS 2 node.

    model = nanovlm_ros.load()
    for chunk in model.generate(['photo.jpg', 'What is this?']):
        print(chunk.delta, end='')
"""
from pkgutil import extend_path

# The generated msg, srv and action modules may live in another directory.
__path__ = extend_path(__path__, __name__)


def __getattr__(name: str):
    """Import `load` and `Model` when they are first asked for: the node needs neither."""
    if name in ('load', 'Model'):
        from nanovlm_ros import api

        return getattr(api, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
