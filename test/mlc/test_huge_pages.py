# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays on huge pages: where they lie, and that they are plain arrays otherwise."""
import gc
import mmap
import weakref
from pathlib import Path

import numpy as np
import pytest

from nanovlm_ros.mlc import huge_pages
from nanovlm_ros.mlc.huge_pages import ALIGNMENT, HUGE, huge_arrays

LAYOUT = [((3, 5), 'int32'), ((7,), 'float16'), ((0, 4), 'float32'), ((HUGE // 4,), 'float32')]


def test_arrays_are_zeros_of_their_own_at_places_that_kernels_take():
    arrays = huge_arrays(LAYOUT)
    assert [(a.shape, a.dtype) for a in arrays] == [(s, np.dtype(d)) for s, d in LAYOUT]
    assert all(a.ctypes.data % ALIGNMENT == 0 and not a.any() for a in arrays)
    assert arrays[0].ctypes.data % HUGE == 0
    for number, array in enumerate(arrays, 1):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(arrays, 1))


def test_memory_lasts_as_long_as_an_array_of_it(monkeypatch):
    made = []

    class Mapping(mmap.mmap):
        def __init__(self, *arguments, **options):
            made.append(weakref.ref(self))

    monkeypatch.setattr(huge_pages.mmap, 'mmap', Mapping)
    first, *others = huge_arrays(LAYOUT)
    del others
    gc.collect()
    assert made[0]() is not None
    first[...] = 1
    del first
    gc.collect()
    assert made[0]() is None


def test_a_kernel_without_huge_pages_gives_others(monkeypatch):
    class Mapping(mmap.mmap):
        def madvise(self, advice):
            raise OSError

    monkeypatch.setattr(huge_pages.mmap, 'mmap', Mapping)
    assert not huge_arrays([((5,), 'int32')])[0].any()


def test_pages_are_huge_where_linux_gives_them():
    chosen = Path('/sys/kernel/mm/transparent_hugepage/enabled')
    if not chosen.exists() or '[never]' in chosen.read_text():
        pytest.skip('this kernel has no huge pages')
    array, = huge_arrays([((8 * HUGE,), 'uint8')])
    array[...] = 1
    address, found = array.ctypes.data, 0
    for line in Path('/proc/self/smaps').read_text().splitlines():
        first = line.split()[0]
        if '-' in first and not first.endswith(':'):
            start, end = (int(part, 16) for part in first.split('-'))
            inside = start <= address < end
        elif inside and first == 'AnonHugePages:':
            found = int(line.split()[1])
    assert found > 0
