# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Link the objects of a library, for this machine or for one of another kind."""
import importlib.util
import platform
import shutil
import subprocess
import sys
from typing import List, Optional, Sequence

from nanovlm_ros.types import ErrorCode, NanoVlmError


def link(output: str, objects: Sequence[str], machine: str) -> None:
    """Write a shared library for a machine such as 'aarch64'.

    Raises MODEL_ERROR with what the linker says, or with what to install.
    """
    linker = find_linker(machine)
    if linker is None:
        raise _failed(
            f'no linker for {machine} was found. Install one with `apt install '
            f'gcc-{machine.replace("_", "-")}-linux-gnu` or `pip install ziglang`.'
            if machine != platform.machine() else
            'no C compiler was found, which links it. Install one with `apt install gcc`.')
    command = [*linker, '-shared', '-o', output, *objects]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failed(f'{linker[0]} could not link it for {machine}: {done.stderr.strip()}')


def find_linker(machine: str) -> Optional[List[str]]:
    """Return the command of a C compiler that links for a machine: GCC's, or that of Zig."""
    names = [f'{machine}-linux-gnu-gcc']
    if machine == platform.machine():
        names = ['gcc', 'clang', 'cc', *names]
    for name in names:
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec('ziglang'):
        return [sys.executable, '-m', 'ziglang', 'cc', '-target', f'{machine}-linux-gnu']
    return None


def _failed(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, f'The library could not be linked: {message}')
