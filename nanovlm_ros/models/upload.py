# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays on their way to the device."""
import numpy as np
import torch


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return a tensor of an array, there; on the CPU it is the array itself.

    A GPU copies from page-locked memory, in the order of the current stream: nobody waits.
    """
    tensor = torch.from_numpy(array)
    if device.type == 'cpu':
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
