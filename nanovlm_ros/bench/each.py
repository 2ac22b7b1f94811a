# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Several models, each in a process of its own, so that its memory is."""
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, List, Sequence

from nanovlm_ros.bench.machine import command_line, describe
from nanovlm_ros.models.published import PAGE, find_published

ALL = 'all'


def shape_names(wanted: Sequence[str]) -> List[str]:
    """Return the names of models, `all` in full. Raises INVALID_REQUEST for one that is none."""
    names: List[str] = []
    for name in wanted:
        names += [model.name for model in PAGE] if name == ALL else [name]
    for name in names:
        find_published(name)
    return names


def measure_each(names: Sequence[str], arguments: Sequence[str], note: Callable[[str], None]
                 ) -> Dict[str, Any]:
    """Run `nanovlm bench` for each shape; a model that cannot be measured says why."""
    models: List[Dict[str, Any]] = []
    head: Dict[str, Any] = {}
    for name in names:
        note(name)
        with TemporaryDirectory(prefix='nanovlm_') as folder:
            path = Path(folder) / 'result.json'
            done = subprocess.run(
                [sys.executable, '-m', 'nanovlm_ros.cli.main', 'bench', '--random-weights',
                 '--shape', name, '--output', str(path), *arguments],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f'exit code {done.returncode}']
                models.append({'name': find_published(name).name,
                               'error': lines[-1].removeprefix('nanovlm: ')})
                continue
            head = json.loads(path.read_text(encoding='utf-8'))
            models += head['models']
    return {**(head or describe('cpu')), 'command': command_line(), 'models': models}
