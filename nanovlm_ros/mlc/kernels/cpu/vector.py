# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the kernels share: 2**x and a sum or maximum over 16 lanes, inlined."""
from math import factorial, log

from tvm.script import tirx as T

from nanovlm_ros.mlc.packing import LANES

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


@T.inline
def fold(x):
    """x[0] = sum of x[0:16], by halves."""
    for v in T.vectorized(8):
        x[v] = x[v] + x[v + 8]
    for v in T.vectorized(4):
        x[v] = x[v] + x[v + 4]
    x[0] = (x[0] + x[1]) + (x[2] + x[3])


@T.inline
def fold_max(x, scratch):
    """scratch[0] = maximum of x[0:16], by halves; scratch is 8 floats."""
    for v in T.vectorized(8):
        scratch[v] = T.max(x[v], x[v + 8])
    for v in T.vectorized(4):
        scratch[v] = T.max(scratch[v], scratch[v + 4])
    scratch[0] = T.max(T.max(scratch[0], scratch[1]), T.max(scratch[2], scratch[3]))
