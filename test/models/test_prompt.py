# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a prompt: where its images lie, and by what key each row is known."""
import numpy as np

from nanovlm_ros.models.prompt import Prompt
from nanovlm_ros.types import Frame


def frame(width=2):
    return Frame.from_rgb(np.zeros((2, width, 3), np.uint8))


def test_rows_of_different_frames_and_tokens_never_share_a_key():
    first, second = frame(), frame()
    prompt = Prompt([[1, 2], first, [0], second], lambda frame: 3)
    assert len(set(prompt.keys.tolist())) == prompt.n_tokens == 9
    assert (prompt.keys < 0).sum() == prompt.n_image_tokens == 6
    assert prompt.text_ids.tolist() == [1, 2, 0]


def test_images_of_different_sizes_take_the_rows_that_each_needs():
    small, large = frame(1), frame(5)
    prompt = Prompt([[1, 2], small, [0], large, [3]], lambda frame: 2 * frame.width)
    assert prompt.spans == [(small, 2, 4), (large, 5, 15)]
    assert prompt.frames == [small, large]
    assert (prompt.n_tokens, prompt.n_image_tokens) == (16, 12)
    assert np.flatnonzero(prompt.keys < 0).tolist() == [2, 3, *range(5, 15)]


def test_the_same_frame_has_the_same_keys_in_every_prompt():
    shown = frame()
    one, two = (Prompt([[1], shown, [tail]], lambda frame: 4).keys for tail in (5, 6))
    assert one[:5].tolist() == two[:5].tolist() and one[5] != two[5]


def test_a_prompt_without_text_or_images_is_one():
    assert Prompt([frame()], lambda frame: 3).text_ids.tolist() == []
    assert Prompt([[1, 2]], lambda frame: 3).spans == []
