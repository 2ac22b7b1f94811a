# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a library is compiled for: `cpu`, `cuda`, `cuda:sm_87`, `cuda:sm_90@aarch64`.

`cpu` is the processor of this machine. A CUDA target names a GPU's architecture and, behind an
`@`, the machine around it, which runs the host code; with both, nothing of the machine that
compiles gets into the library.
"""
import platform
import re
from dataclasses import dataclass

from nanovlm_ros.types import ErrorCode, NanoVlmError

CPU, CUDA = 'cpu', 'cuda'
MACHINES = ('x86_64', 'aarch64')
TESTED = ('sm_80', 'sm_86', 'sm_87', 'sm_89', 'sm_90')  # newer ones: if the compiler knows them
OLDEST = 80           # cp.async and bfloat16 begin there
JETSONS = ('sm_87', 'sm_110')  # Orin and Thor: GPUs that come with an Arm processor
_SPEC = re.compile(r'cuda(?::(?P<arch>[^@]*))?(?:@(?P<machine>.*))?')
_ARCH = re.compile(r'sm_(\d+)')


@dataclass(frozen=True)
class Target:
    """A kind of device; `str` gives what `parse` takes."""

    device: str         # 'cpu' or 'cuda'
    arch: str = ''      # of the GPU, such as 'sm_90'
    machine: str = ''   # of the host code beside the GPU's: one of MACHINES

    @classmethod
    def parse(cls, text: str) -> 'Target':
        """Return the target that a text names. Raises INVALID_REQUEST.

        `cuda` alone is the GPU of this machine. The machine around a Jetson's GPU is aarch64,
        around any other it is of the kind of this one.
        """
        if text == CPU:
            return cls(CPU)
        found = _SPEC.fullmatch(text)
        if found is None:
            raise _refused(f'The target {text!r} is unknown; use cpu, cuda, or the architecture '
                           'of another GPU, as in cuda:sm_87.')
        arch = found['arch'] if found['arch'] is not None else gpu_arch()
        number = _ARCH.fullmatch(arch)
        if number is None or int(number[1]) < OLDEST:
            raise _refused(
                f'{arch!r} in the target {text!r} is no architecture that the kernels run on; '
                f'use {", ".join(TESTED)}, or a newer one.')
        machine = found['machine']
        if machine is None:
            machine = 'aarch64' if arch in JETSONS else platform.machine()
        if machine not in MACHINES:
            raise _refused(f'The machine {machine!r} of the target {text!r} is unknown; use '
                           f'{" or ".join(MACHINES)}, as in cuda:{arch}@{MACHINES[0]}.')
        return cls(CUDA, arch, machine)

    @classmethod
    def here(cls, device: str) -> 'Target':
        """Return the processor ('cpu') or the GPU ('cuda') of this machine.

        Raises INVALID_REQUEST where there is no GPU, or one that is too old.
        """
        return cls.parse(f'{CUDA}:{gpu_arch()}@{platform.machine()}' if device == CUDA else device)

    def __str__(self) -> str:
        return f'{CUDA}:{self.arch}@{self.machine}' if self.device == CUDA else self.device

    def tvm(self):
        """Return the target in TVM's words; needs TVM's compiler."""
        import tvm

        if self.device == CPU:
            from nanovlm_ros.mlc.compile import host_target

            return host_target()
        return tvm.target.Target(
            {'kind': 'cuda', 'arch': self.arch, 'max_threads_per_block': 1024,
             'max_shared_memory_per_block': 48 << 10, 'thread_warp_size': 32},
            host={'kind': 'llvm', 'mtriple': f'{self.machine}-linux-gnu'})


def gpu_arch() -> str:
    """Return the architecture of the current GPU. Raises INVALID_REQUEST where there is none."""
    import torch

    if not torch.cuda.is_available():
        raise _refused('This machine has no GPU that torch can use: name the architecture of the '
                       f'GPU to compile for, as in cuda:{TESTED[2]}, or use cpu.')
    return 'sm_{}{}'.format(*torch.cuda.get_device_capability())


def _refused(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)
