# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A library with one CUDA kernel, and a driver without a GPU."""
import os
import subprocess
from pathlib import Path

import tvm
from tvm.relax.frontend import nn
from tvm.script import tirx as T

from nanovlm_ros.mlc.compile import carry_cubins, lower, write_library
from nanovlm_ros.mlc.target import Target

SOURCE = '''
#include <cuda_fp16.h>
__device__ __forceinline__ void twice(const float* x, float* y, int m) {
  int i = blockIdx.x * 32 + threadIdx.x;
  if (i < m) y[i] = 2.f * __half2float(__float2half(x[i]));
}
'''


@T.prim_func(s_tir=True, private=True)
def kernel(x_: T.handle, y_: T.handle):
    T.func_attr({'tirx.is_scheduled': True, 'tirx.noalias': True})
    m = T.int64()
    x = T.match_buffer(x_, (m,), 'float32')
    y = T.match_buffer(y_, (m,), 'float32')
    for _ in T.thread_binding((m + 31) // 32, thread='blockIdx.x'):
        for _ in T.thread_binding(32, thread='threadIdx.x'):
            with T.sblock('twice'):
                T.reads()
                T.writes()
                T.evaluate(T.cuda.func_call(
                    'twice', x.data, y.data, T.cast(m, 'int32'), source_code=SOURCE))


class Twice(nn.Module):
    def run(self, x):
        return nn.tensor_ir_op(kernel, 'twice', [x], nn.Tensor.placeholder(x.shape, 'float32'))


def write_twice(target: Target, path: Path) -> None:
    """Write a library whose `run` doubles a vector on a GPU."""
    carry_cubins(target)
    module = Twice()
    module, _ = module.export_tvm(spec=nn.spec.ModuleSpec.from_raw({'run': {
        'x': nn.spec.Tensor(['n'], 'float32'),
        '$': {'param_mode': 'packed', 'effect_mode': 'none'}}}, module))
    write_library(tvm.compile(module, target=target.tvm(), relax_pipeline=lower()), target, path)


def fake_driver(folder: Path) -> Path:
    """Build a libcuda.so.1 that has no GPU, with what TVM's runtime takes from it."""
    names = ('cuDeviceGetName', 'cuFuncSetAttribute', 'cuGetErrorName', 'cuGetErrorString',
             'cuLaunchKernelEx', 'cuModuleGetFunction', 'cuModuleLoadData', 'cuModuleUnload',
             'cuTensorMapEncodeTiled')
    source, library = folder / 'driver.c', folder / 'libcuda.so.1'
    source.write_text(''.join(f'int {name}(void) {{ return 100; }}\n' for name in names))
    subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-Wl,-soname,libcuda.so.1',
                    '-o', library, source], check=True)
    return library
