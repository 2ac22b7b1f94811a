# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compile a model for this machine and pack its weights, so that the first start is quick.

With --target and --output it is done for another machine, which then needs no compiler.
"""
import time
from pathlib import Path


def add_arguments(parser) -> None:
    """Add the model's arguments, and for whom it is compiled."""
    from nanovlm_ros.cli.model_arguments import add_model_arguments

    add_model_arguments(parser)
    parser.add_argument('--target', default='', metavar='TARGET',
                        help='cpu (one like this), cuda (the GPU of this machine) or another GPU, '
                             'as in cuda:sm_87 for Jetson Orin; needs --output')
    parser.add_argument('--output', default='', metavar='FOLDER',
                        help='folder to make for --target: all that the robot needs')


def run(arguments) -> int:
    """Build, and say where the files are."""
    from nanovlm_ros.types import ErrorCode, NanoVlmError

    if bool(arguments.target) != bool(arguments.output):
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           '--target and --output go together: one says for what machine, the '
                           'other where the folder for it is made.')
    return _deploy(arguments) if arguments.target else _build(arguments)


def _build(arguments) -> int:
    """Build for this machine, and load once."""
    from nanovlm_ros.cli.model_arguments import load_model
    from nanovlm_ros.mlc.cache import cache_folder

    began = time.monotonic()
    model = load_model(arguments)
    print(f'{model.name} is ready ({arguments.quantization}, {model.context_length} tokens of '
          f'context) after {time.monotonic() - began:.1f} s; its files are in {cache_folder()}')
    model.close()
    return 0


def _deploy(arguments) -> int:
    """Make a folder for another machine."""
    from nanovlm_ros.cli.model_arguments import Progress
    from nanovlm_ros.engine.deploy import deploy
    from nanovlm_ros.mlc.cuda.toolchain import MISSING, has_compiler
    from nanovlm_ros.mlc.target import CUDA, Target

    began = time.monotonic()
    target, output = Target.parse(arguments.target), Path(arguments.output).expanduser()
    with Progress() as progress:
        files = deploy(arguments.model, target, output, progress=progress, **{
            name: getattr(arguments, name)
            for name in ('revision', 'trust_pickle', 'mlc_weights', 'quantization',
                         'activations')})
    for path, size in files.items():
        print(f'{size / 1024:12,.1f} KiB  {path.relative_to(output)}')
    if target.device == CUDA and not has_compiler():
        print(f'The GPU code is not compiled yet, for {MISSING} The robot needs one for its '
              'first start.')
    print(f'{output} is ready for {target} after {time.monotonic() - began:.1f} s. Copy it to the '
          'robot, set NANOVLM_CACHE to it, and the model to the folder model in it.')
    return 0
