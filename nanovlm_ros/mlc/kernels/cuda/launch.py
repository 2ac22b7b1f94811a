# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""PrimFuncs around the CUDA functions below `source/`: TVM checks the shapes and launches."""
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple, Union

from tvm import tirx
from tvm.tirx.script.builder import ir as T
from tvm.script.ir_builder import IRBuilder

SOURCE = Path(__file__).parent / 'source'

# Of an array: its dimensions, numbers or names that stand for the same number wherever they
# appear, and its dtype.
Array = Tuple[Tuple[Union[int, str], ...], str]


@lru_cache
def source(file: str) -> str:
    """Return the CUDA code of a file, after what all share."""
    return (SOURCE / 'common.cu').read_text() + (SOURCE / file).read_text()


def launch(file: str, function: str, parameters: Sequence[Union[Array, str]],
           arguments: Sequence, grid: Sequence, threads: int) -> tirx.PrimFunc:
    """Return a PrimFunc that runs a function of a file in blocks of `threads`.

    `parameters` are those of the PrimFunc: arrays, and names of int64 scalars. `arguments` are
    what the CUDA function takes: the place of a parameter, the name of a dimension or a scalar
    or an integer in digits (as int), or a float. `grid` is made of numbers, names, and
    (name, divisor): as many blocks as it takes if each does `divisor`.
    """
    with IRBuilder() as builder:
        with T.prim_func(is_private=True, s_tir=True):
            T.func_name('kernel')
            T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
            names: Dict[str, Any] = {}
            handles = []
            for i, parameter in enumerate(parameters):
                if isinstance(parameter, str):
                    names[parameter] = T.arg(parameter, T.int64())
                    handles.append(names[parameter])
                else:
                    handles.append(T.arg(f'array{i}', T.handle()))
            arrays = [_match(handle, parameter, names)
                      for handle, parameter in zip(handles, parameters)]
            frames = [T.thread_binding(_blocks(extent, names), thread=f'blockIdx.{axis}')
                      for extent, axis in zip(grid, 'xyz')]
            frames.append(T.thread_binding(threads, thread='threadIdx.x'))
            with ExitStack() as stack:
                for frame in frames:
                    stack.enter_context(frame)
                stack.enter_context(T.sblock('kernel'))
                T.reads()
                T.writes()
                T.evaluate(T.cuda.func_call(
                    function, *(_argument(value, names, arrays) for value in arguments),
                    source_code=source(file)))
    return builder.get()


def _match(handle, parameter: Union[Array, str], names: Dict[str, Any]):
    if isinstance(parameter, str):
        return None
    shape, dtype = parameter
    for size in shape:
        if isinstance(size, str) and size not in names:
            names[size] = T.int64()
    return T.match_buffer(handle, [names.get(size, size) for size in shape], dtype)


def _blocks(extent, names: Dict[str, Any]):
    if isinstance(extent, tuple):
        name, divisor = extent
        return (names[name] + (divisor - 1)) // divisor
    return names.get(extent, extent)


def _argument(value, names: Dict[str, Any], arrays: list):
    if isinstance(value, str):
        return T.cast(names[value], 'int32') if value in names else T.int32(int(value))
    return value if isinstance(value, float) else arrays[value].data
