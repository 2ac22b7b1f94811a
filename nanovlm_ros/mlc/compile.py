# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compile a decoder: `python -m nanovlm_ros.mlc.compile SHAPE.json OUT.so --target cuda:sm_87`.

It runs as a process of its own, so that a node never loads the compiler; the
library it writes needs only TVM's runtime.
"""
import argparse
import json
import os
import platform
import sys
from pathlib import Path

import tvm
import tvm_ffi
from tvm import relax, transform
from tvm.target import codegen

from nanovlm_ros.mlc.cuda.cubin import with_cubin
from nanovlm_ros.mlc.cuda.toolchain import find_compiler
from nanovlm_ros.mlc.decoder import Decoder
from nanovlm_ros.mlc.kernels.cuda.pipeline import pipeline_for
from nanovlm_ros.mlc.link import link
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.mlc.target import CPU, CUDA, Target
from nanovlm_ros.types import NanoVlmError

SOURCE_HOOK = 'tvm_callback_cuda_postproc'  # TVM hands it the CUDA source of a library


def host_target() -> tvm.target.Target:
    """Return the CPU of this machine."""
    return tvm.target.Target({'kind': 'llvm', 'mcpu': codegen.llvm_get_system_cpu(),
                              'num-cores': os.cpu_count() or 1})


def compile_decoder(shape: DecoderShape, target: tvm.target.Target) -> relax.VMExecutable:
    """Return the executable with the functions of `Decoder`."""
    module, _ = Decoder.export(shape)
    return tvm.compile(module, target=target, relax_pipeline=_lower(),
                       tir_pipeline=pipeline_for(target))


def _lower() -> transform.Pass:
    """Return the passes from the exported module to VM byte code; kernels are ready-made."""
    t = relax.transform
    return transform.Sequential([
        t.LegalizeOps(), t.DeadCodeElimination(), t.RewriteDataflowReshape(),
        t.ToNonDataflow(), t.RemovePurityChecking(), t.CallTIRRewrite(),
        t.StaticPlanBlockMemory(), t.LowerAllocTensor(), t.KillAfterLastUse(),
        t.LowerRuntimeBuiltin(), t.ComputePrimValue(), t.VMShapeLower(),
        t.AttachGlobalSymbol()])


def carry_cubins(target: Target) -> None:
    """Have libraries carry the machine code of their CUDA sources, if a CUDA compiler is here.

    Without one it is made where they are loaded.
    """
    if target.device == CUDA and find_compiler() is not None:
        tvm_ffi.register_global_func(
            SOURCE_HOOK, lambda code, _: with_cubin(code, target.arch), override=True)


def write_library(executable: relax.VMExecutable, target: Target, path: Path) -> None:
    """Link an executable for the target's machine. Raises MODEL_ERROR."""
    machine = target.machine or platform.machine()
    executable.export_library(
        str(path), fcompile=lambda output, objects, **_: link(output, objects, machine))


def main() -> None:
    """Read a shape, write a library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('shape', type=Path, help='JSON of a DecoderShape')
    parser.add_argument('output', type=Path, help='shared library to write')
    parser.add_argument('--target', default=CPU, help='as in cuda:sm_87 (default: %(default)s)')
    arguments = parser.parse_args()
    shape = DecoderShape.from_json(json.loads(arguments.shape.read_text()))
    try:
        target = Target.parse(arguments.target)
        carry_cubins(target)
        write_library(compile_decoder(shape, target.tvm()), target, arguments.output)
    except NanoVlmError as error:
        sys.exit(error.message)


if __name__ == '__main__':
    main()
