# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""TVM without its compiler, as a robot may have it."""
from importlib.util import find_spec
from pathlib import Path


def runtime_only(folder: Path) -> Path:
    """Make a folder for PYTHONPATH with a TVM that has no compiler."""
    installed = Path(find_spec('tvm').origin).parent
    (folder / 'tvm' / 'lib').mkdir(parents=True)
    for path in (*installed.iterdir(), *(installed / 'lib').iterdir()):
        if path.name not in ('lib', '__pycache__', 'libtvm_compiler.so'):
            (folder / path.relative_to(installed.parent)).symlink_to(path)
    return folder
