# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Machine code for CUDA sources: carried by the library, or compiled when it is loaded and kept.

Where TVM compiles without a GPU, its library holds CUDA C, and the machine code is asked for
when the library is loaded. So a last line is added to the source, a comment with the cubin that
was made of it: the library stays one file, and a robot needs no CUDA compiler.
"""
import base64
import hashlib
from pathlib import Path
from typing import Optional, Tuple

from nanovlm_ros.mlc.cache import cache_folder, cache_in_use, part, publish
from nanovlm_ros.mlc.cuda.toolchain import STANDARD, compile_cubin

MARK = '// cubin for '


def with_cubin(source: str, arch: str) -> str:
    """Return a source with its machine code for an architecture. Raises as `compile_cubin`."""
    return f'{source}\n{MARK}{arch} {base64.b64encode(compile_cubin(source, arch)).decode()}'


def find_cubin(source: str, arch: str) -> bytes:
    """Return the machine code of a source for a GPU of this architecture, such as 'sm_90'.

    Without one inside it is compiled, and kept in the build cache. Raises as `compile_cubin`,
    and MODEL_ERROR where the cache cannot be written.
    """
    source, cubin = _split(source, arch)
    if cubin is not None:
        return cubin
    path = _place(source, arch)
    if path.is_file():
        return path.read_bytes()
    cubin = compile_cubin(source, arch)
    with cache_in_use():
        path.parent.mkdir(parents=True, exist_ok=True)
        part(path).write_bytes(cubin)
        publish(part(path), path)
    return cubin


def _split(source: str, arch: str) -> Tuple[str, Optional[bytes]]:
    """Return (source without machine code, the machine code if it is for this GPU)."""
    rest, _, last = source.rpartition('\n')
    if not last.startswith(MARK):
        return source, None
    made_for, cubin = last[len(MARK):].split()
    return rest, base64.b64decode(cubin) if made_for == arch else None


def _place(source: str, arch: str) -> Path:
    key = hashlib.sha256('\n'.join((STANDARD, arch, source)).encode()).hexdigest()[:24]
    return cache_folder() / 'cubins' / f'{key}.cubin'
