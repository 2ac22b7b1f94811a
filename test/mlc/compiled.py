# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A kernel compiled on its own, over numpy arrays."""
import numpy as np
import tvm

RANDOM = np.random.default_rng(0)


def build(kernel, target):
    """Compile a PrimFunc; return a function over arrays that gives back the last one."""
    compiled = compile_kernel(kernel, target)['main']

    def call(*arguments):
        tensors = [tvm.runtime.tensor(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a
                   for a in arguments]
        compiled(*tensors)
        return tensors[-1].numpy()

    return call


def compile_kernel(kernel, target):
    """Return the executable of a PrimFunc under the name `main`."""
    module = tvm.IRModule({'main': kernel.with_attr('global_symbol', 'main')})
    return tvm.compile(module, target=target)


def normal(*shape):
    """Return random float32."""
    return RANDOM.standard_normal(shape).astype(np.float32)
