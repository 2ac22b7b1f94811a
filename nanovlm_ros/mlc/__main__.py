# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compile a decoder: `python -m nanovlm_ros.mlc SHAPE.json OUT.so --target cuda:sm_87`.

The shape `null` stands for the library beside a decoder, which serves all of them.

It runs as a process of its own, so that a node never loads the compiler; the
library it writes needs only TVM's runtime.
"""
import argparse
import json
import sys
from pathlib import Path

from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.mlc.target import CPU, Target
from nanovlm_ros.types import NanoVlmError

NO_COMPILER = 'apache-tvm is installed without its compiler, libtvm_compiler.so.'


def main() -> None:
    """Read a shape, write a library; what fails is told on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('shape', type=Path, help='JSON of a DecoderShape, or of null')
    parser.add_argument('output', type=Path, help='shared library to write')
    parser.add_argument('--target', default=CPU, help='as in cuda:sm_87 (default: %(default)s)')
    arguments = parser.parse_args()
    fields = json.loads(arguments.shape.read_text())
    shape = fields and DecoderShape.from_json(fields)
    import tvm

    if tvm.base._RUNTIME_ONLY:
        sys.exit(NO_COMPILER)
    from nanovlm_ros.mlc.compile import (
        carry_cubins, compile_decoder, compile_companion, write_library)

    try:
        target = Target.parse(arguments.target)
        carry_cubins(target)
        made = (compile_decoder(shape, target.tvm()) if shape
                else compile_companion(target.device, target.tvm()))
        write_library(made, target, arguments.output)
    except NanoVlmError as error:
        sys.exit(error.message)


if __name__ == '__main__':
    main()
