# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A model without weights, for chats."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from fakes import FakeModel  # noqa: E402


@pytest.fixture
def fake():
    return FakeModel()
