# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompts are exactly as trained, and users cannot write control tokens."""
import numpy as np

from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.models.templates import VICUNA_V1, Special
from nanovlm_ros.types import Frame

SYSTEM = ('A chat between a curious user and an artificial intelligence assistant. The assistant '
          "gives helpful, detailed, and polite answers to the user's questions.")


def frame():
    return Frame.from_rgb(np.zeros((2, 2, 3), np.uint8))


def test_vicuna_v1_is_as_trained():
    assert VICUNA_V1.render([Turn('Hi', assistant='Hello.'), Turn('Bye')]) == [
        Special('<s>'), SYSTEM + ' USER: Hi ASSISTANT: Hello.', Special('</s>'),
        ' USER: Bye ASSISTANT:']


def test_images_come_before_the_question_each_with_a_line_of_its_own():
    first, second = frame(), frame()
    assert VICUNA_V1.render([Turn('What changed?', (first, second))], 'Be brief.') == [
        Special('<s>'), 'Be brief. USER: ', first, '\n', second, '\nWhat changed? ASSISTANT:']


def test_rows_of_different_frames_and_tokens_never_share_a_key():
    first, second = frame(), frame()
    prompt = Prompt([[1, 2], first, [0], second], tokens_per_image=3)
    assert len(set(prompt.keys.tolist())) == prompt.n_tokens == 9
    assert (prompt.keys < 0).sum() == prompt.n_image_tokens == 6
    assert prompt.text_ids.tolist() == [1, 2, 0]


def test_the_same_frame_has_the_same_keys_in_every_prompt():
    shown = frame()
    one, two = (Prompt([[1], shown, [tail]], 4).keys for tail in (5, 6))
    assert one[:5].tolist() == two[:5].tolist() and one[5] != two[5]
