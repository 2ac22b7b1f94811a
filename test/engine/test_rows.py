# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Text and images become rows in the order of the prompt, from any row on."""
import pytest
import torch
from fakes import gray

from nanovlm_ros.engine.rows import prompt_rows
from nanovlm_ros.models.prompt import Prompt

A, B = gray(1), gray(2)
LONG = {A.key: 3, B.key: 4}


def image(frame):
    """Rows that tell their frame and their place in it."""
    return torch.tensor([[-frame.key, row] for row in range(LONG[frame.key])], dtype=torch.float32)


@pytest.mark.parametrize('segments', [
    [[5, 6], A, [7], B, [8, 9]], [A, B, [4]], [[1], A, A], [[1, 2, 3]], [[1], [2], B, [3]]])
def test_rows_are_those_of_the_segments_one_after_the_other(segments):
    prompt = Prompt(segments, lambda frame: LONG[frame.key])
    text = torch.tensor([[token, 0] for token in prompt.text_ids], dtype=torch.float32)
    whole = torch.cat([torch.tensor([[token, 0] for token in s], dtype=torch.float32)
                       if isinstance(s, list) else image(s) for s in segments])
    for start in range(prompt.n_tokens):
        asked = []
        rows = prompt_rows(prompt, start, text, lambda f: (asked.append(f), image(f))[1])
        assert torch.equal(rows, whole[start:])
        assert asked == [frame for frame, _, end in prompt.spans if end > start]
