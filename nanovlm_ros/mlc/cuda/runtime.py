# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""TVM's runtime for NVIDIA GPUs, made ready beside torch's.

TVM has it in a library of its own, libtvm_runtime_cuda.so, which it loads by itself only in
full installations, and whose absence it does not tell.
"""
import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Optional

from nanovlm_ros.mlc.cuda.cubin import find_cubin
from nanovlm_ros.mlc.cuda.toolchain import find_files
from nanovlm_ros.mlc.target import gpu_arch
from nanovlm_ros.types import ErrorCode, NanoVlmError

RUNTIME, CUDART = 'libtvm_runtime_cuda.so', 'libcudart.so.13'
COMPILE = 'tvm_callback_cuda_compile'  # TVM asks it for the machine code of a library's source
LOAD = 'ffi.Module.load_from_bytes.cuda'
STACK_LIMIT, STACK = 0, 256  # cudaLimitStackSize of cudaDeviceSetLimit, and its value [bytes]
CPU_WORKS = 'The CPU can be used as well: set the device to cpu.'


@lru_cache(maxsize=None)  # once; what raises is tried again
def prepare() -> None:
    """Load CUDA for torch, then for TVM, and see to the machine code of libraries.

    Raises NOT_READY with a sentence that says what is missing.
    """
    _check_torch()
    _load_runtime()
    _lower_stacks()
    import tvm_ffi

    tvm_ffi.register_global_func(COMPILE, _MACHINE_CODE, override=True)


def load_library(path: Path):
    """Return a library as TVM's module, after `prepare`; raise also what `find_cubin` raises."""
    import tvm

    prepare()
    _MACHINE_CODE.error = None
    try:
        return tvm.runtime.load_module(str(path))
    except RuntimeError:
        if _MACHINE_CODE.error is not None:
            raise _MACHINE_CODE.error from None
        raise


class _MachineCode:
    """Gives TVM machine code; TVM makes a RuntimeError of any exception, so it is kept."""

    error: Optional[NanoVlmError] = None

    def __call__(self, source: str) -> bytes:
        try:
            return find_cubin(source, gpu_arch())
        except NanoVlmError as error:
            self.error = error
            raise


_MACHINE_CODE = _MachineCode()


def _check_torch() -> None:
    import torch

    if torch.version.cuda is None:
        raise _missing(
            f'torch {torch.__version__} was built without CUDA. Install the build for CUDA 13 '
            'that fits this machine (pytorch.org; for a Jetson, that of its JetPack).')
    if not torch.cuda.is_available():
        raise _missing(
            f'torch {torch.__version__} finds no GPU that it can use (it was built for CUDA '
            f'{torch.version.cuda}). See whether `nvidia-smi` lists the GPU; the driver must be '
            'of CUDA 13 (580 or newer), and a container needs to be given the GPU.')
    torch.cuda.init()
    # Sums in float32 also where cuBLAS splits them over blocks.
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def _load_runtime() -> None:
    import tvm
    import tvm_ffi

    path = runtime_library()
    try:
        _load_cudart()
        ctypes.CDLL(str(path))
    except OSError as error:
        raise _missing(
            f"TVM's runtime for CUDA could not be loaded: {error}. {path.name} needs CUDA 13 "
            f'({CUDART}, which comes with torch for CUDA 13 or `pip install '
            'nvidia-cuda-runtime`) and its driver (580 or newer). JetPack 6 has CUDA 12: there '
            'a newer JetPack is needed, or a TVM built from source.') from error
    if tvm_ffi.get_global_func(LOAD, allow_missing=True) is None or not tvm.cuda(0).exist:
        raise _missing(f'{path} was loaded, but TVM sees no GPU, though torch does. Make sure '
                       'that apache-tvm and apache-tvm-ffi are of one release.')


def runtime_library() -> Path:
    """Return TVM's runtime library for CUDA, which lies beside the others of TVM."""
    from tvm.base import _LOADED_LIBS

    return Path(_LOADED_LIBS['tvm_runtime']._name).resolve().with_name(RUNTIME)


def _load_cudart() -> None:
    """Have the CUDA runtime in the process: torch brings it, or a wheel has it."""
    try:
        ctypes.CDLL(CUDART)
    except OSError:
        for path in find_files('lib', CUDART):
            ctypes.CDLL(str(path))
            return
        raise


def _lower_stacks() -> None:
    """Give the GPU's threads small stacks: the driver reserves them for all that can be resident.

    1 KiB each are 264 MiB of an H200. A kernel that needs more gets more when it is launched.
    """
    # Without success the stacks stay as they are.
    ctypes.CDLL(CUDART).cudaDeviceSetLimit(STACK_LIMIT, ctypes.c_size_t(STACK))


def _missing(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.NOT_READY, f'{message} {CPU_WORKS}')
