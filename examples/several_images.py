# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask about several images at once, then go on about the same ones.

    python examples/several_images.py [IMAGE ...]
"""
import sys
from pathlib import Path

import nanovlm_ros

PICTURES = Path(__file__).parent / 'pictures'

images = sys.argv[1:] or sorted((PICTURES / 'hallway').glob('*.jpg'))
with nanovlm_ros.load() as model:
    if len(images) > model.max_images:
        sys.exit(f'{model.name} takes at most {model.max_images} images.')
    changed = model.ask([*images, 'What changed?'], keep_history=True)
    print(changed.text)
    # The conversation keeps the images, and the KV cache what was computed of them.
    person = model.ask('Is there a person in the last frame?', keep_history=True)
    print(person.text, f'({person.cached_tokens} of {person.prompt_tokens} tokens were cached)')
