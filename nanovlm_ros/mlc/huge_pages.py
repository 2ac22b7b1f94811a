# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory for what is read from end to end at every token. numpy only."""
import mmap
from math import prod
from typing import Iterable, List, Tuple

import numpy as np

HUGE = 2 << 20  # bytes of a huge page: of x86, and of ARM with pages of 4 KiB
ALIGNMENT = 64  # bytes at whose multiples TVM's kernels expect an array


def huge_arrays(layout: Iterable[Tuple[Tuple[int, ...], str]]) -> List[np.ndarray]:
    """Return an array of zeros for each (shape, dtype), one behind the other in one mapping.

    It is on huge pages where Linux has some to give: a processor fetches ahead as far as a page
    goes, and each needs its address looked up. Nothing is resident before it is written.
    """
    entries = list(layout)
    sizes = [prod(shape) * np.dtype(dtype).itemsize for shape, dtype in entries]
    total = sum(map(_padded, sizes))
    mapping = mmap.mmap(-1, total + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        mapping.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without them
        pass
    memory = np.frombuffer(mapping, np.uint8)
    place, arrays = -memory.ctypes.data % HUGE, []
    for (shape, dtype), size in zip(entries, sizes):
        arrays.append(memory[place:place + size].view(dtype).reshape(shape))
        place += _padded(size)
    return arrays


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
