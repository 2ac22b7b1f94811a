# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder for a robot that has no compiler: libraries for its target, and the model.

    libraries/KEY.so     as in the build cache, which the folder is for the robot
    model/               see `models.bundle`
"""
import shutil
from pathlib import Path
from typing import Dict

from nanovlm_ros.engine.build import converted_weights, library, companion_library
from nanovlm_ros.engine.loader import open_checkpoint, use_converted
from nanovlm_ros.mlc.cache import part, publish
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import INT8
from nanovlm_ros.mlc.target import Target
from nanovlm_ros.models.bundle import MARK, write_bundle
from nanovlm_ros.types import ErrorCode, NanoVlmError, Progress

MODEL = 'model'


def deploy(model: str, target: Target, output: Path, *, revision: str = '',
           trust_pickle: bool = False, mlc_weights: str = '', quantization: str = 'q4f16_1',
           activations: str = INT8, progress: Progress = lambda stage, done, total: None
           ) -> Dict[Path, int]:
    """Compile a model for a target and convert it, into a folder; return its files and sizes.

    A model that an earlier call put there is replaced, its libraries stay. The arguments are
    those of `loader.load`. Raises NanoVlmError, INVALID_REQUEST for a folder of something else.
    """
    _check_free(output)
    checkpoint, given = use_converted(
        open_checkpoint(model, revision, trust_pickle, progress), mlc_weights, progress)
    if given:
        shape, weights = checkpoint.shape(given.quantization), given.folder
    else:
        shape = checkpoint.shape(QUANTIZATIONS[quantization])
        weights = converted_weights(checkpoint, shape, progress)
    libraries = [library(shape.on(target.device, activations), progress, target),
                 companion_library(progress, target)]
    progress('copy', 0, 1)
    try:
        output.mkdir(parents=True, exist_ok=True)
        written = part(output / MODEL)
        shutil.rmtree(written, ignore_errors=True)
        written.mkdir()
        try:
            write_bundle(checkpoint, weights, written)
            for path in libraries:
                _copy_library(path, output / 'libraries')
            shutil.rmtree(output / MODEL, ignore_errors=True)
            written.rename(output / MODEL)
        finally:
            shutil.rmtree(written, ignore_errors=True)
    except OSError as error:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'The folder {output} cannot be written: {error}. Make room or give permission '
            'there, or name another folder.') from error
    progress('copy', 1, 1)
    files = [*(output / 'libraries' / path.name for path in libraries),
             *sorted((output / MODEL).rglob('*'))]
    return {path: path.stat().st_size for path in files if path.is_file()}


def _check_free(output: Path) -> None:
    """What is in the folder must be ours to replace."""
    if output.exists() and not (output / MODEL / MARK).is_file() and (
            not output.is_dir() or any(output.iterdir())):
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{output} holds something else than a model that was compiled before. Name a folder '
            'that is empty, or that does not exist.')


def _copy_library(library: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    written = part(folder / library.name)
    shutil.copyfile(library, written)
    publish(written, folder / library.name)
