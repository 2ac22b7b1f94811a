# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A bag, its questions and a fake engine, ready to run."""
from dataclasses import replace

import pytest
from recordings import TOPIC, FakeSpec, film, write_bag, write_lines, write_questions

from nanovlm_ros.bag import run as module
from nanovlm_ros.bag.run import Options

QUESTIONS = (
    {'phrasings': ['one', 'two'], 'score': 'exact', 'truth': {'constant': 'one|3|1'}},
    {'id': 'w', 'window': {'frames': 3, 'period': 0.2}, 'period': 0.4},
    {'id': 'l', 'truth': {'labels': 'labels.jsonl', 'field': 'gray'}, 'score': 'number'})


@pytest.fixture
def options(tmp_path):
    """A run of 40 images with three questions."""
    write_lines(tmp_path / 'labels.jsonl', *(
        {'start': n / 10 - 0.05, 'end': n / 10 + 0.05, 'gray': n} for n in range(40)))
    return Options([write_bag(tmp_path / 'night', {TOPIC: film(40)})],
                   write_questions(tmp_path, *QUESTIONS), tmp_path / 'out', FakeSpec())


@pytest.fixture
def evaluate(monkeypatch, capsys):
    """Return a function that runs without reports: options and changes -> (code, stderr)."""
    monkeypatch.setattr(module, '_finish', lambda out: 0)

    def run(options, **changes):
        code = module.run(replace(options, **changes))
        return code, capsys.readouterr().err
    return run
