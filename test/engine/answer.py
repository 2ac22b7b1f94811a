# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`python answer.py MODEL` asks a model about a picture, as a program on a robot does."""
import sys

import numpy as np

import nanovlm_ros


def answer(name: str) -> str:
    """Return what a model says about a red picture."""
    picture = np.full((48, 48, 3), (200, 30, 30), np.uint8)
    with nanovlm_ros.load(name) as model:
        return ''.join(chunk.delta for chunk in model.generate([picture, 'Describe the scene.']))


if __name__ == '__main__':
    print(answer(sys.argv[1]))
    import tvm

    print('runtime only:', tvm.base._RUNTIME_ONLY)
