# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compile a decoder for a target: `python -m nanovlm_ros.mlc.compile SHAPE.json OUT.so`.

It runs as a process of its own, so that a node never loads the compiler; the
library it writes needs only TVM's runtime.
"""
import argparse
import json
import os
from pathlib import Path

import tvm
from tvm import relax, transform
from tvm.target import codegen

from nanovlm_ros.mlc.decoder import Decoder
from nanovlm_ros.mlc.shape import DecoderShape


def host_target() -> tvm.target.Target:
    """Return the CPU of this machine."""
    return tvm.target.Target({'kind': 'llvm', 'mcpu': codegen.llvm_get_system_cpu(),
                              'num-cores': os.cpu_count() or 1})


def compile_decoder(shape: DecoderShape, target: tvm.target.Target) -> relax.VMExecutable:
    """Return the executable with the functions of `Decoder`."""
    module, _ = Decoder.export(shape)
    return tvm.compile(module, target=target, relax_pipeline=_lower())


def _lower() -> transform.Pass:
    """Return the passes from the exported module to VM byte code; kernels are ready-made."""
    t = relax.transform
    return transform.Sequential([
        t.LegalizeOps(), t.DeadCodeElimination(), t.RewriteDataflowReshape(),
        t.ToNonDataflow(), t.RemovePurityChecking(), t.CallTIRRewrite(),
        t.StaticPlanBlockMemory(), t.LowerAllocTensor(), t.KillAfterLastUse(),
        t.LowerRuntimeBuiltin(), t.ComputePrimValue(), t.VMShapeLower(),
        t.AttachGlobalSymbol()])


def main() -> None:
    """Read a shape, write a library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('shape', type=Path, help='JSON of a DecoderShape')
    parser.add_argument('output', type=Path, help='shared library to write')
    arguments = parser.parse_args()
    shape = DecoderShape.from_json(json.loads(arguments.shape.read_text()))
    compile_decoder(shape, host_target()).export_library(str(arguments.output))


if __name__ == '__main__':
    main()
