# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The demo's judge: right is right, wrong is wrong, and spelling is not the point."""
import pytest

from demo.judge import is_right


@pytest.mark.parametrize('expected, text', [
    ('Yes.', 'Yes.'), ('Yes.', 'yes'), ('3', '3.'), ('EXIT 12', ' exit  12\n'),
    ('On the left, near.', 'On the left, near.')])
def test_case_spaces_and_the_final_stop_do_not_matter(expected, text):
    assert is_right({'kind': 'free', 'expected': expected}, text, '')


@pytest.mark.parametrize('expected, text', [
    ('Yes.', 'No.'), ('3', '13'), ('3', ''), ('EXIT 12', 'EXIT 1'), ('No.', 'No cone.')])
def test_anything_else_is_wrong(expected, text):
    assert not is_right({'kind': 'read', 'expected': expected}, text, '')


def test_json_is_compared_by_value():
    question = {'kind': 'json', 'expected': {'door': 'open', 'boxes': 2}}
    assert is_right(question, '', '{"boxes": 2, "door": "open"}')
    assert not is_right(question, '', '{"boxes": 3, "door": "open"}')
    assert not is_right(question, '', '{"boxes": 2}')
    assert not is_right(question, '{"boxes": 2, "door": "open"}', '')  # not validated
