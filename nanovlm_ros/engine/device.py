# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a model runs: what was asked for, and what this machine has."""
import logging
from typing import TYPE_CHECKING

from nanovlm_ros.types import ErrorCode, NanoVlmError

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger(__name__)
AUTO, CUDA, CPU = 'auto', 'cuda', 'cpu'
DEVICES = (AUTO, CUDA, CPU)
ON_CUDA = ('q4f16_1', 'q0f16')  # quantizations that there are CUDA kernels for


def choose_device(device: str, quantization: str) -> str:
    """Return 'cuda' or 'cpu' for one of DEVICES; 'cpu' never touches CUDA.

    'auto' is the GPU where it can run the model; where there is one that cannot, a warning says
    why. 'cuda' insists on it, and raises NanoVlmError.
    """
    if device == CPU or device == AUTO and not _has_gpu():
        return CPU
    try:
        _check_cuda(quantization)
    except NanoVlmError as error:
        if device == CUDA:
            raise
        LOG.warning('The model runs on the CPU, though there is a GPU. %s', error.message)
        return CPU
    return CUDA


def torch_device(device: str) -> 'torch.device':
    """Return 'cuda' or 'cpu' in torch's words: of several GPUs, the current one.

    Raises NOT_READY for what a GPU lacks.
    """
    import torch

    if device == CPU:
        return torch.device(CPU)
    from nanovlm_ros.mlc.cuda.runtime import prepare

    prepare()
    return torch.device(CUDA, torch.cuda.current_device())


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _check_cuda(quantization: str) -> None:
    """Raise unless the GPU of this machine can run a model with this quantization."""
    if quantization not in ON_CUDA:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'The quantization {quantization} has no kernels for a GPU; use '
            f'{" or ".join(ON_CUDA)}, or set the device to {CPU}.')
    from nanovlm_ros.mlc.cuda.runtime import prepare
    from nanovlm_ros.mlc.target import Target

    prepare()
    Target.here(CUDA)
