# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A prompt as rows of the language model."""
from typing import Callable

import numpy as np
import torch

from nanovlm_ros.models.prompt import Prompt
from nanovlm_ros.types import Frame


def prompt_rows(prompt: Prompt, start: int, text: torch.Tensor,
                image: Callable[[Frame], torch.Tensor]) -> torch.Tensor:
    """Return the rows of a prompt from `start` on, (n_tokens - start, hidden) float32.

    `text` are the embeddings of `prompt.text_ids`; `image` gives the rows of a frame, and is
    asked only for those that have a row from `start` on; they may be float16. All are on one
    device, and nothing waits for it.
    """
    parts, at, used = [], start, int(np.count_nonzero(prompt.keys[:start] >= 0))
    for frame, first, end in prompt.spans:
        if end > start:
            between = max(first - at, 0)  # rows of text
            parts += [text[used:used + between], image(frame)[max(start - first, 0):]]
            at, used = end, used + between
    return torch.cat([*parts, text[used:]])
