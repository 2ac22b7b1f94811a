# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compile a model for this machine and pack its weights, so that the first start is quick."""
import time


def add_arguments(parser) -> None:
    """Add the model's arguments."""
    from nanovlm_ros.cli.model_arguments import add_model_arguments

    add_model_arguments(parser)


def run(arguments) -> int:
    """Build, load once, and say where the files are."""
    from nanovlm_ros.cli.model_arguments import load_model
    from nanovlm_ros.engine.build import cache_folder

    began = time.monotonic()
    model = load_model(arguments)
    print(f'{model.name} is ready ({arguments.quantization}, {model.context_length} tokens of '
          f'context) after {time.monotonic() - began:.1f} s; its files are in {cache_folder()}')
    model.close()
    return 0
