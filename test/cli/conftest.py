# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Films to ask about, and a model without weights for every command that loads one."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from fakes import FakeModel  # noqa: E402
from films import grays, write_video  # noqa: E402


@pytest.fixture
def model(monkeypatch):
    fake = FakeModel()
    monkeypatch.setattr('nanovlm_ros.cli.model_arguments.load_model', lambda arguments: fake)
    return fake


@pytest.fixture
def film(tmp_path):
    """A video of 4 s."""
    return write_video(tmp_path / 'film.mp4', grays(40))
