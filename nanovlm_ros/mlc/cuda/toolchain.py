# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CUDA C to machine code, by the nvcc or the NVRTC that is on this machine; no GPU needed."""
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Optional

from nanovlm_ros.mlc.cuda.nvrtc import Nvrtc
from nanovlm_ros.types import ErrorCode, NanoVlmError

STANDARD = '--std=c++17'
TOOLKIT = Path('/usr/local/cuda')   # where NVIDIA's packages put it, JetPack's among them
MISSING = ('no CUDA compiler was found: neither nvcc (on the PATH, in $CUDA_HOME, in '
           f'{TOOLKIT}) nor libnvrtc. Install NVRTC with `pip install nvidia-cuda-nvrtc '
           'nvidia-cuda-runtime`, or the CUDA toolkit.')
TOLD = 8  # lines of a compiler's log

Compiler = Callable[[str, str], bytes]


def compile_cubin(source: str, arch: str) -> bytes:
    """Compile CUDA C for an architecture such as 'sm_90'; fast math is off.

    Raises MODEL_ERROR with the first errors of the compiler, or with what to install.
    """
    failed = []
    for compiler in _compilers():  # an nvcc may be older than the GPU, and NVRTC not
        try:
            return compiler(source, arch)
        except NanoVlmError as error:
            failed.append(error.message)
    raise _failed(' '.join(failed) or f'The GPU code could not be compiled: {MISSING}')


def has_compiler() -> bool:
    """Tell whether this machine has an nvcc or an NVRTC."""
    return bool(_compilers())


def _compilers() -> List[Compiler]:
    """What compiles (source, arch) on this machine: nvcc, then NVRTC."""
    nvcc, library = find_nvcc(), find_nvrtc()
    return ([partial(_run_nvcc, nvcc)] if nvcc else []) + (
        [partial(_run_nvrtc, library)] if library else [])


def find_nvcc() -> Optional[Path]:
    """Return the compiler of the toolkit in $CUDA_HOME, on the PATH, or at its usual place."""
    for home in _homes():
        if (home / 'bin' / 'nvcc').is_file():
            return home / 'bin' / 'nvcc'
    found = shutil.which('nvcc')
    if found is not None:
        return Path(found)
    return TOOLKIT / 'bin' / 'nvcc' if (TOOLKIT / 'bin' / 'nvcc').is_file() else None


def find_nvrtc() -> Optional[Path]:
    """Return libnvrtc of NVIDIA's wheels, which torch brings, or of a toolkit."""
    return next(find_files('lib', 'libnvrtc.so.*'), None)


def find_files(folder: str, pattern: str) -> Iterator[Path]:
    """Yield files that match in the `lib` or `include` folders of wheels and toolkits."""
    for root in _roots():
        # .alt: NVRTC's build with less of its own library, for other uses
        yield from sorted(path for path in (root / folder).glob(pattern)
                          if '.alt.' not in path.name)


def _homes() -> List[Path]:
    return [Path(os.environ[name]) for name in ('CUDA_HOME', 'CUDA_PATH')
            if os.environ.get(name)]


def _roots() -> Iterable[Path]:
    """Folders that hold lib/ and include/: NVIDIA's wheels of CUDA 13, those before, toolkits."""
    wheels = [Path(place) / 'nvidia' for place in sys.path if place]
    yield from (folder / 'cu13' for folder in wheels)
    yield from (folder / name for folder in wheels for name in ('cuda_nvrtc', 'cuda_runtime'))
    for toolkit in (*_homes(), TOOLKIT):
        yield toolkit
        yield from sorted((toolkit / 'targets').glob('*'))


def _run_nvcc(nvcc: Path, source: str, arch: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix='nanovlm_') as folder:
        code, cubin = Path(folder, 'kernels.cu'), Path(folder, 'kernels.cubin')
        code.write_text(source, encoding='utf-8')
        command = [str(nvcc), '-cubin', '-O3', STANDARD, f'-arch={arch}', '-o', str(cubin),
                   str(code)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise _failed(f'{nvcc} cannot be run: {error}. Install the CUDA toolkit again, or '
                          'take it off the PATH: NVRTC does as well.') from error
        if done.returncode or not cubin.is_file():
            raise _failed(f'nvcc ({nvcc}) could not compile the GPU code for {arch}: '
                          f'{_first_errors(done.stderr + done.stdout)}')
        return cubin.read_bytes()


def _run_nvrtc(library: Path, source: str, arch: str) -> bytes:
    header = next(find_files('include', 'cuda_fp16.h'), None)
    if header is None:
        raise _failed('NVRTC is here, but cuda_fp16.h is not: install it with '
                      '`pip install nvidia-cuda-runtime`, or the CUDA toolkit.')
    try:
        compiler = Nvrtc(library)
    except OSError as error:
        raise _failed(f'{library} cannot be loaded: {error}. Install it again with '
                      '`pip install --force-reinstall nvidia-cuda-nvrtc`.') from error
    try:
        cubin, log = compiler.compile(
            source, [STANDARD, f'--gpu-architecture={arch}', f'--include-path={header.parent}'])
    except OSError as error:
        raise _failed(f'{library} failed: {error}. Install it again with `pip install '
                      '--force-reinstall nvidia-cuda-nvrtc`.') from error
    if not cubin:
        raise _failed(f'NVRTC {compiler.version} ({library}) could not compile the GPU code for '
                      f'{arch}: {_first_errors(log)}')
    return cubin


def _first_errors(log: str) -> str:
    """Return the first lines that tell of errors; of a log without any, its first lines."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if 'error' in line.lower() or 'fatal' in line.lower()]
    return '\n'.join((errors or lines)[:TOLD])[:2000]


def _failed(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, message)
