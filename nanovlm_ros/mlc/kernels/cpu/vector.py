# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the kernels share: 2**x, a sum or maximum over 16 lanes, scales of weights, inlined."""
from math import factorial, log

import numpy as np
from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu.layout import CODES
from nanovlm_ros.mlc.packing import LANES

PARALLEL = 8  # rows from which on threads are worth waking for what is done to each

LINE = 64     # bytes that come from memory together, at least

LOG2E = 1.4426950408889634
# 2**f = sum (f ln 2)^i / i! for f in [-1/2, 1/2]; the 7th term is below 2e-7.
_TAYLOR = [log(2) ** i / factorial(i) for i in range(7)]


def _polynomial(f):
    value = T.float32(_TAYLOR[-1])
    for coefficient in _TAYLOR[-2::-1]:
        value = T.fma(value, f, T.float32(coefficient))
    return value


@T.inline
def exp2(x, scratch):
    """x[0:16] = 2 ** x[0:16] to 2 ulp, for x in [-126, 126] (clamped); scratch is 16 floats."""
    for v in T.vectorized(LANES):
        x[v] = T.min(T.max(x[v], T.float32(-126)), T.float32(126))
    for v in T.vectorized(LANES):
        scratch[v] = T.nearbyint(x[v])
    for v in T.vectorized(LANES):
        x[v] = x[v] - scratch[v]
    for v in T.vectorized(LANES):
        x[v] = _polynomial(x[v]) * T.reinterpret(
            'float32', T.shift_left(T.cast(scratch[v], 'int32') + 127, 23))


def exp2_of(x):
    """Expression for 2 ** x of a scalar in [-126, 126], clamped below; as `exp2`."""
    clamped = T.max(x, T.float32(-126))
    whole = T.nearbyint(clamped)
    return _polynomial(clamped - whole) * T.reinterpret(
        'float32', T.shift_left(T.cast(whole, 'int32') + 127, 23))


def prefetch(element):
    """Have the cache line of a buffer's element on its way to the processor."""
    T.evaluate(T.call_llvm_intrin(T.llvm_lookup_intrinsic_id('llvm.prefetch'),
                                  T.address_of(element), 0, 3, 1, dtype='void'))


def scales(weight, block, g, lane, width, dtype):
    """Expression for the scales of group `g` from row `lane` on, (width,) float32.

    `weight` is as `kernels.cpu.layout` joins it, with scales of a `dtype`.
    """
    size = np.dtype(dtype).itemsize
    words = weight[block, g, T.ramp(CODES + lane * size // 4, 1, width * size // 4)]
    return T.cast(T.reinterpret(f'{dtype}x{width}', words), f'float32x{width}')


def _exchanged(x, a, b, distance, upper):
    """Expression for row `a` (or `b`: `upper`) after blocks of `distance` changed places."""
    lanes = [(lane + LANES if upper else lane - distance + LANES) if lane & distance
             else (lane + distance if upper else lane) for lane in range(LANES)]
    return T.Shuffle([x[T.ramp(a * LANES, 1, LANES)], x[T.ramp(b * LANES, 1, LANES)]], lanes)


@T.inline
def exchange(row, other, distance):
    for i in T.unroll(LANES // 2):
        a = i // distance * 2 * distance + i % distance
        other[T.ramp(0, 1, LANES)] = _exchanged(row, a, a + distance, distance, False)
        row[T.ramp((a + distance) * LANES, 1, LANES)] = _exchanged(
            row, a, a + distance, distance, True)
        row[T.ramp(a * LANES, 1, LANES)] = other[T.ramp(0, 1, LANES)]


@T.inline
def transpose(to, start, x, first, stride):
    """to[start + 16 i + j] = x[first + stride j + i] for i, j below 16."""
    with T.sblock('transpose'):
        T.reads()
        T.writes()
        row = T.sblock_alloc_buffer((LANES * LANES,), 'float32')
        other = T.sblock_alloc_buffer((LANES,), 'float32')
        for j in T.unroll(LANES):
            for v in T.vectorized(LANES):
                row[j * LANES + v] = x[first + stride * j + v]
        exchange(row, other, 8)
        exchange(row, other, 4)
        exchange(row, other, 2)
        exchange(row, other, 1)
        for j in T.unroll(LANES):
            for v in T.vectorized(LANES):
                to[start + j * LANES + v] = row[j * LANES + v]


def half(x, lanes, upper):
    """Expression for a half of x[0:lanes], taken in a register: LLVM reads it badly from memory."""
    first = lanes // 2 * upper
    return T.Shuffle([x[T.ramp(0, 1, lanes)]], list(range(first, first + lanes // 2)))


def _lane(x, lanes, lane):
    return T.Shuffle([x[T.ramp(0, 1, lanes)]], [lane])


@T.inline
def fold(x):
    """x[0] = sum of x[0:16], by halves."""
    x[T.ramp(0, 1, 8)] = half(x, 16, 0) + half(x, 16, 1)
    x[T.ramp(0, 1, 4)] = half(x, 8, 0) + half(x, 8, 1)
    x[0] = (_lane(x, 4, 0) + _lane(x, 4, 1)) + (_lane(x, 4, 2) + _lane(x, 4, 3))


@T.inline
def fold_max(x, scratch):
    """scratch[0] = maximum of x[0:16], by halves; scratch is 8 floats."""
    scratch[T.ramp(0, 1, 8)] = T.max(half(x, 16, 0), half(x, 16, 1))
    scratch[T.ramp(0, 1, 4)] = T.max(half(scratch, 8, 0), half(scratch, 8, 1))
    scratch[0] = T.max(T.max(_lane(scratch, 4, 0), _lane(scratch, 4, 1)),
                       T.max(_lane(scratch, 4, 2), _lane(scratch, 4, 3)))
