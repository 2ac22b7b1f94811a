# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Paths and small helpers of the training tests."""

import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope='session')
def demo_model() -> Path:
    """The checkpoint folder that ships."""
    return ROOT / 'assets/demo_model'


@pytest.fixture(scope='session')
def tokenizer(demo_model) -> Tokenizer:
    """The tokenizer that ships."""
    return Tokenizer.from_file(str(demo_model / 'llm/tokenizer.json'))
