# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs on a device beside the decoder: matrices of vision, and choosing tokens."""
from functools import cache, partial
from typing import Callable, List

from torch import nn

from nanovlm_ros.engine.build import companion_library
from nanovlm_ros.engine.device import AUTO, CPU, torch_device
from nanovlm_ros.engine.device_sampler import DeviceSampler
from nanovlm_ros.engine.sampler import sample_rows
from nanovlm_ros.mlc.shape import INT8, DecoderShape
from nanovlm_ros.mlc.target import Target
from nanovlm_ros.models.attention import attend_in_int8
from nanovlm_ros.models.int8_linear import in_int8
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.quantized_linear import QuantizedLinear
from nanovlm_ros.types import Progress

UNPACKED = 16  # columns that the GPU's kernel writes at a time


class Companion:
    """Makes what a decoder needs beside it, for its device.

    Its library is opened, and compiled if need be, when something first needs it.
    """

    def __init__(self, device: str,
                 progress: Progress = lambda stage, done, total: None):
        self._cpu = device == CPU
        self._device = torch_device(device)
        self._kernels = cache(lambda: _open(device, companion_library(
            progress, Target.here(device))))

    def placement(self, shape: DecoderShape, vision_weights: str, activations: str) -> Placement:
        """Return where vision runs beside a decoder, and what becomes of its matrices.

        `vision_weights` and `activations` are as in `loader.load`.
        """
        if vision_weights != INT8 and not (vision_weights == AUTO and shape.quantization.quantized):
            return Placement.on(self._device)
        if not self._cpu:
            return Placement.on(self._device, linear=self._unpacked)
        if activations != INT8:
            return Placement.on(self._device, linear=QuantizedLinear)
        return Placement.on(self._device, linear=partial(in_int8, kernels=self._kernels),
                            attention=partial(attend_in_int8, kernels=self._kernels))

    def _unpacked(self, linear: nn.Linear) -> QuantizedLinear:
        whole = linear.in_features % UNPACKED == 0
        return QuantizedLinear(linear, self._kernels().unpack if whole else None)

    def sampler(self) -> Callable[..., List[int]]:
        """Return what chooses tokens: `sampler.sample_rows` of logits that are on the device."""
        return sample_rows if self._cpu else DeviceSampler(self._kernels().sample)


def _open(device: str, library):
    if device == CPU:
        from nanovlm_ros.mlc.cpu_companion import CpuCompanion

        return CpuCompanion(library)
    from nanovlm_ros.mlc.cuda.companion import CudaCompanion

    return CudaCompanion(library)
