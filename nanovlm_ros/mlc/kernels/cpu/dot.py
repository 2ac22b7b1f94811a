# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Dot products of four int8 with four 4-bit codes in each int32 lane, by instruction set.

A code is an unsigned byte of at most 15. A group has 8 fours: products of it and of int8
in [-127, 127] stay within 16 bits also where they are summed there.
"""
from dataclasses import dataclass
from typing import Callable, Tuple

import tvm
from tvm.script import tirx as T
from tvm.target import codegen


@dataclass(frozen=True)
class Dot:
    """An instruction set: expressions over vectors of `width` int32 lanes.

    A sum over a group of 32 is `finish(dot(... dot(start(c), codes, four) ...), c)`, with c an
    int32 that is added in each lane, `codes` (width,) int32 of four bytes each, and `four` an
    int32 of four int8 that all lanes share.
    """

    name: str
    width: int                      # int32 lanes of a register
    features: Tuple[str, ...]       # names that LLVM has for what a CPU must know
    start: Callable
    dot: Callable
    finish: Callable


def llvm_call(name, dtype, *arguments):
    """Expression for an instruction, by LLVM's name for it."""
    return T.call_llvm_pure_intrin(T.llvm_lookup_intrinsic_id(name), *arguments, dtype=dtype)


def _bytes(words, width):
    return T.reinterpret(f'int8x{4 * width}', words)


def _halves(words, width):
    return T.reinterpret(f'int16x{2 * width}', words)


def _in_32_bits(name, width, features, intrinsic):
    """Instructions that sum in int32 themselves."""
    def dot(part, codes, four):
        pair = _bytes(codes, width), _bytes(T.broadcast(four, width), width)
        return llvm_call(intrinsic, f'int32x{width}', part, *pair)

    return Dot(name, width, features, lambda constant: T.broadcast(constant, width), dot,
               lambda part, constant: part)


def _avx2_dot(part, codes, four):
    products = llvm_call('llvm.x86.avx2.pmadd.ub.sw', 'int16x16', _bytes(codes, 8),
                         _bytes(T.broadcast(four, 8), 8))
    return T.reinterpret('int32x8', _halves(part, 8) + products)


def _avx2_finish(part, constant):
    ones = T.broadcast(T.int16(1), 16)
    return T.broadcast(constant, 8) + llvm_call(
        'llvm.x86.avx2.pmadd.wd', 'int32x8', _halves(part, 8), ones)


def _portable_dot(part, codes, four):
    """Bytes 0 and 2 of a word, then 1 and 3, as pairs of int16 that any vector unit multiplies."""
    def every(value):
        return T.broadcast(T.int16(value), 32)

    codes, four = _halves(codes, 16), _halves(T.broadcast(four, 16), 16)
    return T.reinterpret('int32x16', _halves(part, 16) + (codes & every(255)) * T.shift_right(
        T.shift_left(four, every(8)), every(8)) + T.shift_right(codes, every(8)) * T.shift_right(
            four, every(8)))


def _portable_finish(part, constant):
    sixteen = T.broadcast(16, 16)
    return (T.broadcast(constant, 16) + T.shift_right(part, sixteen)
            + T.shift_right(T.shift_left(part, sixteen), sixteen))


def _zero(width):
    return lambda constant: T.broadcast(0, width)


VNNI_512 = _in_32_bits('avx512-vnni', 16, ('avx512vnni',), 'llvm.x86.avx512.vpdpbusd.512')
VNNI_256 = _in_32_bits('avx-vnni', 8, ('avxvnni',), 'llvm.x86.avx512.vpdpbusd.256')
AVX2 = Dot('avx2', 8, ('avx2',), _zero(8), _avx2_dot, _avx2_finish)
NEON = _in_32_bits('neon-dotprod', 4, ('dotprod',), 'llvm.aarch64.neon.sdot')
PORTABLE = Dot('portable', 16, (), _zero(16), _portable_dot, _portable_finish)

BEST_FIRST = (VNNI_512, VNNI_256, AVX2, NEON, PORTABLE)


def best(target: tvm.target.Target) -> Dot:
    """Return the fastest that the CPU of a target knows."""
    return next(dot for dot in BEST_FIRST
                if codegen.llvm_cpu_has_features(list(dot.features), target))
