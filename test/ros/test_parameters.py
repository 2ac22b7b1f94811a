# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of the parameters: described, ranged, checked, and documented from one table."""
import re
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from nanovlm_ros.ros.parameters import TABLE, markdown

ROOT = Path(__file__).parents[2]
KINDS = {bool: Parameter.Type.BOOL, int: Parameter.Type.INTEGER, float: Parameter.Type.DOUBLE,
         str: Parameter.Type.STRING, list: Parameter.Type.STRING_ARRAY}
RANGED = [row for row in TABLE if row.low is not None]
DYNAMIC = [row for row in TABLE if row.dynamic]
FIXED = [row for row in TABLE if not row.dynamic]


def name_of(row):
    return row.name


def other(row):
    """Return another good value for a parameter."""
    if row.choices:
        return next(choice for choice in row.choices if choice != row.default)
    if isinstance(row.default, bool):
        return not row.default
    if row.low is not None:
        high = row.high if row.default != row.high else row.low
        return type(row.default)(high)
    if row.name == 'event.rules':
        return ['{"name": "person", "text": "^yes"}']
    return ['{}'] if isinstance(row.default, list) else '{}'


@pytest.fixture(scope='module')
def free():
    """A node that is not configured: every parameter may change."""
    from harness import Robot

    robot = Robot(autostart=False)
    yield robot
    robot.close()


@pytest.fixture(scope='module')
def configured():
    """An active node with a camera nobody publishes to."""
    from harness import Robot

    robot = Robot()
    yield robot
    robot.close()


def put(robot, row, value):
    return robot.call(lambda: robot.node.set_parameters(
        [Parameter(row.name, value=value)]))[0]


def value_of(robot, row):
    value = robot.node.get_parameter(row.name).value
    return list(value) if isinstance(row.default, list) else value


def test_the_readme_shows_the_table_that_the_node_declares():
    text = (ROOT / 'README.md').read_text()
    found = re.search('<!-- parameters -->\n(.*?)\n?<!-- /parameters -->', text, re.DOTALL)
    assert found, 'README.md has no <!-- parameters --> ... <!-- /parameters --> section'
    assert found[1] == markdown(), \
        'Run `python -m nanovlm_ros.ros.parameters` and put its output between the markers.'


def test_the_parameter_files_name_no_parameter_that_does_not_exist():
    import yaml

    known = {row.name for row in TABLE} | {'use_sim_time'}

    def names(tree, prefix=''):
        for key, value in tree.items():
            yield from names(value, f'{prefix}{key}.') if isinstance(value, dict) \
                else [prefix + key]

    files = sorted((ROOT / 'config').glob('*.yaml'))
    assert files
    for path in files:
        for node in yaml.safe_load(path.read_text()).values():
            assert not set(names(node['ros__parameters'])) - known, path.name


@pytest.mark.parametrize('row', TABLE, ids=name_of)
def test_a_parameter_is_declared_with_its_type_its_default_and_a_description(free, row):
    declared = free.node.describe_parameter(row.name)
    assert declared.type == KINDS[type(row.default)].value
    assert declared.description and not declared.dynamic_typing
    start_value = False if row.name == 'autostart' else row.default
    assert value_of(free, row) == start_value


@pytest.mark.parametrize('row', RANGED, ids=name_of)
def test_a_range_is_declared_and_values_outside_are_refused(free, row):
    declared = free.node.describe_parameter(row.name)
    limits, = declared.floating_point_range or declared.integer_range
    kind = type(row.default)
    assert (limits.from_value, limits.to_value) == (kind(row.low), kind(row.high))
    beyond = [kind(row.low - 1)] + ([kind(row.high + 1)] if row.high + 1 < 2 ** 63 else [])
    before = value_of(free, row)
    for value in beyond:
        result = put(free, row, value)
        assert not result.successful and row.name in result.reason
    assert value_of(free, row) == before
    assert put(free, row, kind(row.low)).successful and put(free, row, before).successful


@pytest.mark.parametrize('row', [row for row in TABLE if row.choices], ids=name_of)
def test_only_the_choices_are_taken(free, row):
    result = put(free, row, 'q9f99')
    assert not result.successful
    assert all(choice in result.reason for choice in (row.name, *row.choices))
    for choice in row.choices:
        assert put(free, row, choice).successful
    assert put(free, row, row.default).successful


@pytest.mark.parametrize('row', TABLE, ids=name_of)
def test_a_value_of_another_type_is_refused(free, row):
    before = value_of(free, row)
    wrong = 'yes' if not isinstance(row.default, str) else 7
    assert not put(free, row, wrong).successful
    assert value_of(free, row) == before


@pytest.mark.parametrize('row', FIXED, ids=name_of)
def test_what_is_read_at_configure_cannot_change_afterwards(configured, row):
    before = value_of(configured, row)
    result = put(configured, row, other(row))
    assert not result.successful and 'cleanup' in result.reason
    assert value_of(configured, row) == before
    assert 'configure' in configured.node.describe_parameter(row.name).additional_constraints


@pytest.mark.parametrize('row', FIXED, ids=name_of)
def test_what_is_read_at_configure_may_change_before(free, row):
    before = value_of(free, row)
    assert put(free, row, other(row)).successful and value_of(free, row) == other(row)
    assert put(free, row, before).successful


@pytest.mark.parametrize('row', DYNAMIC, ids=name_of)
def test_a_dynamic_parameter_may_change_while_active(configured, row):
    before = value_of(configured, row)
    assert put(configured, row, other(row)).successful
    assert value_of(configured, row) == other(row)
    assert put(configured, row, before).successful


def test_a_schema_parameter_that_is_no_json_is_refused(free):
    row, = [row for row in TABLE if row.name == 'live.json_schemas']
    result = put(free, row, ['{"type":'])
    assert not result.successful and 'JSON' in result.reason and value_of(free, row) == ['']
