# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The build cache: compiled libraries and converted weights, made once and found by content.

`~/.cache/nanovlm_ros` (or $NANOVLM_CACHE) holds `libraries/KEY.so`, keyed by
shape, compiler, kernel sources and processor or GPU, and `weights/KEY/`, a folder in
MLC's format keyed by the checkpoint's files and the quantisation. Both appear under
their name only when they are complete, so a killed build leaves nothing that counts;
what it has converted lies in `weights/KEY.part/`, from where the next one goes on.
"""
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Iterator, Optional

import numpy as np

from nanovlm_ros.mlc import convert
from nanovlm_ros.mlc.cache import cache_folder, cache_in_use, part, publish
from nanovlm_ros.mlc.chat_config import chat_config
from nanovlm_ros.mlc.convert import check_sources, write_weights
from nanovlm_ros.mlc.mlc_folder import MlcFolder
from nanovlm_ros.mlc.mlc_layout import decoder_groups, stored_parameters
from nanovlm_ros.mlc.mlc_writer import MlcWriter
from nanovlm_ros.mlc.repack import PackedWeights
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.mlc.target import CPU, Target
from nanovlm_ros.models.bundle import TOKENIZER_FILES
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.types import ErrorCode, NanoVlmError, Progress

WHOLE = 64 << 20   # bytes up to which a weights file is hashed whole
SAMPLE = 1 << 20   # bytes hashed at each of 16 places of a larger one


def library(shape: DecoderShape, progress: Progress, target: Target = Target(CPU)) -> Path:
    """Return the compiled library for a shape on a target, compiling it if need be.

    Raises MODEL_ERROR where that is not possible.
    """
    return _library(shape, progress, target)


def companion_library(progress: Progress, target: Target = Target(CPU)) -> Path:
    """Return the library beside a decoder, as `library` does; it serves all models."""
    return _library(None, progress, target)


def _library(shape: Optional[DecoderShape], progress: Progress, target: Target) -> Path:
    key = _digest(shape and shape.to_json(), version('apache-tvm'), _kernel_sources(),
                  _processor() if target.device == CPU else str(target))
    path = cache_folder() / 'libraries' / f'{key}.so'
    if not path.exists():
        progress('compile', 0, 1)
        with cache_in_use():
            path.parent.mkdir(parents=True, exist_ok=True)
            _compile(shape, target, path)
        progress('compile', 1, 1)
    return path


def packed_weights(checkpoint: Checkpoint, shape: DecoderShape, progress: Progress
                   ) -> PackedWeights:
    """Return the parameters of a checkpoint as the library takes them, converting if need be.

    They are laid out one by one as they are asked for, for the device of `shape`. `progress`
    counts bytes.
    """
    return PackedWeights(
        converted_weights(checkpoint, shape, progress), shape, checkpoint.tied)


def converted_weights(checkpoint: Checkpoint, shape: DecoderShape, progress: Progress
                      ) -> MlcFolder:
    """Return the weights of a checkpoint in MLC's format, converting if need be.

    Of `shape` the device does not matter.
    """
    tied = checkpoint.tied
    weights = checkpoint.llm_weights()
    copies = [path for path in map(checkpoint.llm_folder.joinpath, TOKENIZER_FILES)
              if path.is_file()]
    config = chat_config(
        shape, rope_theta=checkpoint.rope_theta, positions=checkpoint.positions, tied=tied,
        tokenizer_files=[path.name for path in copies])
    key = _digest(config, [_fingerprint(file) for file in weights.files],
                  [_file_digest(path) for path in copies], _conversion_sources())
    path = cache_folder() / 'weights' / key
    folder = _whole(path)
    if folder is None:
        with cache_in_use(), _alone(path.parent, progress):
            if _whole(path) is None:  # nobody made it while we waited
                groups = decoder_groups(shape, tied)
                check_sources(groups, weights.floats, weights.file)  # before work, not after
                with MlcWriter(path, stored_parameters(groups)) as writer:
                    write_weights(groups, shape.quantization, weights.floats, writer,
                                  lambda done, total: progress('quantize', done, total))
                    writer.publish(config, copies)
        folder = MlcFolder(path)
    return folder


def _whole(path: Path) -> Optional[MlcFolder]:
    """Return the folder of an earlier conversion; a damaged one is as good as none."""
    if not path.is_dir():
        return None
    try:
        return MlcFolder(path)
    except NanoVlmError:
        return None


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the cache's lock: two processes must not write one part."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress('wait for another conversion', 0, 1)
            fcntl.flock(lock, fcntl.LOCK_EX)
            progress('wait for another conversion', 1, 1)
        yield


def _compile(shape: Optional[DecoderShape], target: Target, path: Path) -> None:
    """Compile a decoder, or without a shape the library beside it."""
    written, request = part(path), part(path).with_suffix('.json')
    request.write_text(json.dumps(shape and shape.to_json()))
    # This process may run TVM's runtime alone; the compiler needs all of it.
    environment = {k: v for k, v in os.environ.items() if k != 'TVM_USE_RUNTIME_LIB'}
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))
    # With a GPU or without, the library is made in one way (see mlc.cuda.cubin).
    environment['TVM_COMPILE_FORCE_FALLBACK'] = '1'
    command = [sys.executable, '-m', 'nanovlm_ros.mlc', '--target', str(target),
               str(request), str(written)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True,
                              check=False)
    finally:
        request.unlink()
    if done.returncode:
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'The model could not be compiled for {target} (apache-tvm and a C compiler are '
            f'needed), and {path.parent} holds no library that was made for it elsewhere, by '
            f'`nanovlm compile --target {target} --output FOLDER` of this release. The compiler '
            f'said: {done.stderr.strip()[-2000:]}')
    publish(written, path)


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _kernel_sources() -> list:
    """Hashes of the code that shapes a library: an edited kernel is another library."""
    folder = Path(convert.__file__).parent
    return [_file_digest(path) for path in sorted(
        [*folder.glob('kernels/**/*.py'), *folder.glob('kernels/**/*.cu'),
         *(folder / name for name in (
             'cuda/cubin.py', 'cuda/names.py', 'cuda/nvrtc.py', 'cuda/toolchain.py', 'compile.py',
             'decoder.py', 'link.py', 'mlc_layout.py', 'packing.py', 'repack.py', 'shape.py',
             'target.py'))])]


def _conversion_sources() -> list:
    """Hashes of the code that shapes converted weights."""
    folder = Path(convert.__file__).parent
    return [_file_digest(folder / name) for name in (
        'convert.py', 'packing.py', 'mlc_layout.py', 'mlc_writer.py')]


def _processor() -> list:
    """What the compiler sees of this CPU: architecture, model and features."""
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    seen = {line for line in lines if line.split('\t')[0].strip(' :') in (
        'model name', 'flags', 'Features', 'CPU part')}
    return [platform.machine(), os.cpu_count(), *sorted(seen)]


def _fingerprint(path: Path) -> list:
    """Name a weights file by its content; of a large one, by its size, time and samples."""
    stat = path.stat()
    if stat.st_size <= WHOLE:
        return [_file_digest(path)]
    digest = hashlib.sha256()
    with path.open('rb') as file:
        for place in np.linspace(0, stat.st_size - SAMPLE, 16, dtype=np.int64):
            file.seek(int(place))
            digest.update(file.read(SAMPLE))
    return [digest.hexdigest(), stat.st_size, stat.st_mtime_ns]
