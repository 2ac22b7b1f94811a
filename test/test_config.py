# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameter files that ship say what the node takes."""
from pathlib import Path

import pytest
import yaml

from nanovlm_ros.ros.parameters import TABLE

CONFIG = Path(__file__).parents[1] / 'config'


def flat(node, prefix=''):
    """Return {dotted name: value} of a nested mapping."""
    values = {}
    for name, value in node.items():
        values.update(flat(value, f'{prefix}{name}.') if isinstance(value, dict)
                      else {prefix + name: value})
    return values


def read(path):
    return flat(yaml.safe_load(path.read_text())['/**']['ros__parameters'])


def test_nanovlm_yaml_lists_every_parameter_at_its_default():
    assert read(CONFIG / 'nanovlm.yaml') == {row.name: row.default for row in TABLE}


@pytest.mark.parametrize('path', sorted(CONFIG.glob('*.yaml')), ids=lambda path: path.name)
def test_a_parameter_file_sets_only_parameters_that_exist_to_good_values(path):
    rows = {row.name: row for row in TABLE}
    for name, value in read(path).items():
        assert type(value) is type(rows[name].default), name
        assert not rows[name].problem(value)
