# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bag's ground truth says about an answer."""
import json
import re


def is_right(question: dict, text: str, document: str) -> bool:
    """Compare an answer with `question['expected']`, as its `kind` asks for."""
    expected = question['expected']
    if question['kind'] == 'json':
        return bool(document) and json.loads(document) == expected
    return _plain(text) == _plain(str(expected))


def _plain(text: str) -> str:
    """Case, spaces and the punctuation at the end do not matter."""
    return re.sub(r'\s+', ' ', text).strip().rstrip('.!').lower()
