# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask one question about one image; the answer is printed as it grows.

    python examples/one_image.py [IMAGE QUESTION]
"""
import sys
from pathlib import Path

import nanovlm_ros

PICTURES = Path(__file__).parent / 'pictures'

image, question = sys.argv[1:] or (PICTURES / 'sign.jpg', 'What does the road sign say?')
with nanovlm_ros.load() as model:
    for chunk in model.generate([image, question]):
        print(chunk.delta, end='', flush=True)
    print()
