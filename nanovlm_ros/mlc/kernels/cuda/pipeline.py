# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""TVM's pipeline for CUDA, with kernels that may start before the one before them has ended.

That is CUDA's programmatic dependent launch, which TVM's runtime knows and its compiler does
not ask for. What a kernel must mind is in `source/common.cu`.
"""
from functools import lru_cache

import tvm
from tvm import tirx
from tvm.tirx.compilation_pipeline import register_tir_pipeline

OVERLAPPING = 90  # the first architecture that can
LAUNCH_PARAMETERS = 'tirx.kernel_launch_params'
DEPENDENT = 'tirx.use_programtic_dependent_launch'  # TVM's spelling


def pipeline_for(target: tvm.target.Target) -> str:
    """Return the name of the TIR pipeline for a target."""
    arch = str(target.attrs.get('arch', '')) if target.kind.name == 'cuda' else ''
    number = ''.join(filter(str.isdigit, arch))
    return _overlapping(target) if number and int(number) >= OVERLAPPING else 'default'


@lru_cache(maxsize=None)
def _overlapping(target: tvm.target.Target) -> str:
    lower, finish_host, finish_device = tirx.get_default_tir_pipeline(target)

    @tvm.transform.module_pass(opt_level=0)
    def mark_kernels(module: tvm.IRModule, _) -> tvm.IRModule:
        module = lower(module)
        for name, function in list(module.functions.items()):
            if function.attrs and LAUNCH_PARAMETERS in function.attrs:
                parameters = [*function.attrs[LAUNCH_PARAMETERS], DEPENDENT]
                module.update_func(name, function.with_attr(LAUNCH_PARAMETERS, parameters))
        return module

    register_tir_pipeline('nanovlm_overlapping', lambda: (mark_kernels, finish_host, finish_device))
    return 'nanovlm_overlapping'
