# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder's library, and the one beside it, compiled for a target.

`python -m nanovlm_ros.mlc` does it in a process.
"""
import os
import platform
from importlib import import_module
from pathlib import Path

import tvm
import tvm_ffi
from tvm import relax, transform
from tvm.target import codegen

from nanovlm_ros.mlc.cuda.cubin import with_cubin
from nanovlm_ros.mlc.cuda.toolchain import has_compiler
from nanovlm_ros.mlc.decoder import Decoder
from nanovlm_ros.mlc.kernels.cuda.pipeline import pipeline_for
from nanovlm_ros.mlc.link import link
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.mlc.target import CUDA, Target

SOURCE_HOOK = 'tvm_callback_cuda_postproc'  # TVM hands it the CUDA source of a library


def host_target() -> tvm.target.Target:
    """Return the CPU of this machine, with the features that it has and not those of its model."""
    features = tvm_ffi.get_global_func('tvm.codegen.llvm.GetHostCPUFeatures')()
    return tvm.target.Target({
        'kind': 'llvm', 'mcpu': codegen.llvm_get_system_cpu(),
        'mattr': [('+' if known else '-') + name for name, known in features.items()],
        'num-cores': os.cpu_count() or 1})


def compile_decoder(shape: DecoderShape, target: tvm.target.Target) -> relax.VMExecutable:
    """Return the executable with the functions of `Decoder`."""
    with target:  # the kernels look at what the CPU knows
        module, _ = Decoder.export(shape)
    return tvm.compile(module, target=target, relax_pipeline=lower(),
                       tir_pipeline=pipeline_for(target))


def compile_companion(device: str, target: tvm.target.Target) -> tvm.runtime.Executable:
    """Return the executable with the functions that a device has beside any decoder."""
    kernels = import_module(f'nanovlm_ros.mlc.kernels.{device}.companion').functions(target)
    return tvm.compile(tvm.IRModule({
        name: kernel.with_attr('global_symbol', name) for name, kernel in kernels.items()}),
        target=target)


def carry_cubins(target: Target) -> None:
    """Have libraries carry the machine code of their CUDA sources, if a CUDA compiler is here.

    Without one it is made where they are loaded. What is compiled next in this process must be
    for the same target.
    """
    if target.device == CUDA:
        found = has_compiler()
        tvm_ffi.register_global_func(
            SOURCE_HOOK, lambda code, _: with_cubin(code, target.arch) if found else code,
            override=True)


def write_library(executable: tvm.runtime.Executable, target: Target, path: Path) -> None:
    """Link an executable for the target's machine. Raises MODEL_ERROR."""
    machine = target.machine or platform.machine()
    executable.export_library(
        str(path), fcompile=lambda output, objects, **_: link(output, objects, machine))


def lower() -> transform.Pass:
    """Return the passes from the exported module to VM byte code; kernels are ready-made."""
    t = relax.transform
    return transform.Sequential([
        t.LegalizeOps(), t.DeadCodeElimination(), t.RewriteDataflowReshape(),
        t.ToNonDataflow(), t.RemovePurityChecking(), t.CallTIRRewrite(),
        t.StaticPlanBlockMemory(), t.LowerAllocTensor(), t.KillAfterLastUse(),
        t.LowerRuntimeBuiltin(), t.ComputePrimValue(), t.VMShapeLower(),
        t.AttachGlobalSymbol()])
