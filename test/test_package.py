# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The package holds together: versions, dependencies, layers, files."""
import ast
import importlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip('tomli', reason='tomllib comes with Python 3.11')

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'nanovlm_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
MANIFEST = ElementTree.parse(ROOT / 'package.xml').getroot()
LOCK = [Requirement(line) for line in (ROOT / 'requirements.lock').read_text().splitlines()
        if line.strip() and not line.startswith('#')]

SOURCES = [ROOT / 'setup.py', *sorted(
    path for folder in ('demo', 'examples', 'launch', 'nanovlm_ros', 'test', 'training')
    for path in (ROOT / folder).rglob('*.py'))]
HEADER = ['# Copyright 2026 nanovlm_ros contributors', '# SPDX-License-Identifier: Apache-2.0']

ROS = {'action_msgs', 'builtin_interfaces', 'cv_bridge', 'diagnostic_msgs', 'lifecycle_msgs',
       'rcl_interfaces', 'rclpy', 'sensor_msgs', 'std_msgs', 'std_srvs'}
# What each part may import of the others; every part may import types and imaging.
LAYERS = {
    'mlc': {'mlc'},
    'models': {'models', 'mlc'},
    'engine': {'engine', 'models', 'mlc'},
    'ros': {'ros', 'engine', 'models', 'mlc', 'msg', 'srv', 'action'},
    'bag': {'bag', 'engine', 'models', 'mlc'},
    'video': {'video', 'engine', 'models', 'mlc'},
    'bench': {'bench', 'engine', 'models', 'mlc'},
    'pictures': set(),
    'api': {'engine', 'pictures'},
    '__init__': {'api'},
    'chat': {'chat', 'api', 'pictures'},
    'cli': {'cli', 'chat', 'api', 'pictures', 'ros', 'bag', 'video', 'bench', 'engine', 'models',
            'mlc'},
}


def imports(path):
    """Return the dotted names that a module imports, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def test_the_version_is_the_same_everywhere():
    assert MANIFEST.findtext('version') == PROJECT['version']
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    assert re.search(rf'^{re.escape(PROJECT["version"])} ', changelog, re.MULTILINE)


def test_the_lock_pins_every_direct_dependency_in_its_range():
    pinned = {canonicalize_name(pin.name): pin for pin in LOCK
              if pin.marker is None or pin.marker.evaluate()}
    extras = PROJECT['optional-dependencies']
    # Ray is large and for clusters, a CUDA compiler for GPUs: who has one brings its version.
    wanted = PROJECT['dependencies'] + sum(
        (extras[name] for name in extras if name not in ('ray', 'cuda')), [])
    for want in map(Requirement, wanted):
        version = next(iter(pinned[canonicalize_name(want.name)].specifier)).version
        assert want.specifier.contains(version), want


def test_the_lock_is_exact():
    assert LOCK
    assert not [pin for pin in LOCK if [s.operator for s in pin.specifier] != ['==']]


def test_what_is_installed_is_what_the_lock_says():
    here = {canonicalize_name(d.metadata['Name']): d.version for d in distributions()}
    pins = [pin for pin in LOCK if pin.marker is None or pin.marker.evaluate()]
    installed = [pin for pin in pins if canonicalize_name(pin.name) in here]
    assert len(installed) > len(pins) / 2  # else this environment was not made by the lock
    differing = {pin.name: here[canonicalize_name(pin.name)] for pin in installed
                 if not pin.specifier.contains(here[canonicalize_name(pin.name)])}
    assert not differing


def test_the_manifest_names_every_ros_package_that_is_imported():
    used = {name.split('.')[0] for path in MODULES for name in imports(path)} & ROS
    named = {element.text for element in MANIFEST
             if element.tag in ('depend', 'exec_depend')}
    assert used - named == set()


def test_dependencies_point_one_way():
    for path in MODULES:
        part = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        ours = {name.split('.')[1] for name in imports(path) if name.startswith('nanovlm_ros.')}
        assert ours - LAYERS.get(part, set()) <= {'types', 'imaging'}, path


def test_only_the_ros_part_imports_ros():
    # imaging hands encodings beyond its own to cv_bridge, where that is installed.
    exempt = [PACKAGE / 'imaging.py', *(PACKAGE / 'ros').rglob('*.py')]
    guilty = [path for path in MODULES if path not in exempt
              and {name.split('.')[0] for name in imports(path)} & ROS]
    assert not guilty


def test_the_core_works_where_ros_is_not_installed():
    names = [str(path.relative_to(ROOT).with_suffix('')).replace('/', '.') for path in MODULES
             if 'ros' not in path.relative_to(PACKAGE).parts[:-1] and path.stem != '__init__']
    code = (
        'import sys\n'
        f'sys.modules.update(dict.fromkeys({sorted(ROS)}))\n'  # importing one raises
        'import importlib\n'
        f'for name in {names}: importlib.import_module(name)\n')
    # A test that loaded a model has set it; mlc.compile needs all of TVM.
    environment = {k: v for k, v in os.environ.items() if k != 'TVM_USE_RUNTIME_LIB'}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_names_a_function_that_exists():
    commands = dict(re.findall(r'(\w+):([\w.]+)', re.search(
        r'foreach\(executable ([^)]*)\)', (ROOT / 'CMakeLists.txt').read_text()).group(1)))
    assert {name: target.removeprefix('nanovlm_ros.').removesuffix(':main')
            for name, target in PROJECT['scripts'].items()} == commands
    for module in commands.values():
        assert callable(importlib.import_module(f'nanovlm_ros.{module}').main)


def test_every_file_names_its_licence_and_says_what_it_is_for():
    for path in SOURCES:
        text = path.read_text()
        assert text.splitlines()[:2] == HEADER, path
        assert ast.get_docstring(ast.parse(text)), path


def test_lines_fit_in_100_columns():
    long = [f'{path}:{number}' for path in SOURCES if ROOT / 'training' not in path.parents
            for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 100]
    assert not long


def test_what_ships_stays_small():
    files = [path for path in (ROOT / 'assets').rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 24_000_000
