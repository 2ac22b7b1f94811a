# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Dot products of four int8 with four int8 in each int32 lane, by instruction set.

All are in [-127, 127]: a product is at most 16,129, a sum of two 32,258, which 16 bits hold,
and a sum of three not. A group of 32 then is below 2^20, or below 2^21 with unsigned codes:
int32 holds it, and float32 has it exactly.
"""
from dataclasses import dataclass
from typing import Callable

import tvm
from tvm.script import tirx as T

from nanovlm_ros.mlc.kernels.cpu import dot

ZERO = 128                    # a weight of zero, as an unsigned code
FLIP = 0x80808080 - (1 << 32)  # of each byte the sign: w + 128, as an unsigned byte


@dataclass(frozen=True)
class DotInt8:
    """An instruction set: expressions over vectors of `width` int32 lanes.

    A sum over a group of 32 is `dot(... dot(start(c), codes(w), four) ...)`, with `w` (width,)
    int32 of four int8 each, `four` an int32 of four int8 that all lanes share, and c their sum
    over the group times -ZERO, which makes up for codes that are not w itself.
    """

    instructions: dot.Dot
    width: int
    codes: Callable
    start: Callable
    dot: Callable


def _unsigned(instructions):
    """Unsigned times signed, summed in int32."""
    width = instructions.width
    return DotInt8(instructions, width, lambda words: words ^ T.broadcast(T.int32(FLIP), width),
                   instructions.start, instructions.dot)


def _signed(instructions, width, product):
    return DotInt8(instructions, width, lambda words: words,
                   lambda constant: T.broadcast(0, width), product)


def _avx2(part, words, four):
    """|w| times x with the sign of w: two products fill 16 bits, each pair is widened at once."""
    weights, x = (T.reinterpret('int8x32', value) for value in (words, T.broadcast(four, 8)))
    pairs = dot.llvm_call(
        'llvm.x86.avx2.pmadd.ub.sw', 'int16x16', T.abs(weights),
        dot.llvm_call('llvm.x86.avx2.psign.b', 'int8x32', x, weights))
    return part + dot.llvm_call('llvm.x86.avx2.pmadd.wd', 'int32x8', pairs,
                                T.broadcast(T.int16(1), 16))


def _portable(part, words, four):
    """Bytes 0 and 2 of a word, and 1 and 3, as int16: their products are summed there in pairs."""
    eight, sixteen = T.broadcast(T.int16(8), 8), T.broadcast(16, 4)

    def odd(halves):
        return T.shift_right(halves, eight)

    def even(halves):
        return T.shift_right(T.shift_left(halves, eight), eight)

    weights, x = (T.reinterpret('int16x8', value) for value in (words, T.broadcast(four, 4)))
    pairs = T.reinterpret('int32x4', even(weights) * even(x) + odd(weights) * odd(x))
    return part + (T.shift_right(pairs, sixteen)
                   + T.shift_right(T.shift_left(pairs, sixteen), sixteen))


VNNI_512 = _unsigned(dot.VNNI_512)
VNNI_256 = _unsigned(dot.VNNI_256)
AVX2 = _signed(dot.AVX2, 8, _avx2)
NEON = _signed(dot.NEON, 4, dot.NEON.dot)
PORTABLE = _signed(dot.PORTABLE, 4, _portable)  # what has no more has registers of 128 bits

BEST_FIRST = (VNNI_512, VNNI_256, AVX2, NEON, PORTABLE)


def best(target: tvm.target.Target) -> DotInt8:
    """Return the fastest that the CPU of a target knows."""
    return next(found for found in BEST_FIRST if found.instructions is dot.best(target))
