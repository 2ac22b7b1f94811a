# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From a model's name or folder to a model that answers."""
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.types import ErrorCode, NanoVlmError

if TYPE_CHECKING:
    from nanovlm_ros.engine.build import Progress
    from nanovlm_ros.engine.model import VisionLanguageModel

DEMO_MODEL = 'demo'


def load(model: str = '', *, device: str = 'auto', quantization: str = 'q4f16_1',
         context_length: int = 0, max_sequences: int = 4,
         progress: 'Progress' = lambda stage, done, total: None) -> 'VisionLanguageModel':
    """Return a model ready for `MlcExecutor`; call it on the thread that will use it.

    `model` is a folder, or '' for the model that ships. `context_length` 0 takes
    the length the model was trained for. Nothing is downloaded and no pickle is
    read. Raises NanoVlmError(MODEL_ERROR or INVALID_REQUEST) with a sentence.
    """
    _check(device, quantization, context_length, max_sequences)
    _prepare_libraries()
    from nanovlm_ros.engine.build import library, packed_weights
    from nanovlm_ros.engine.model import VisionLanguageModel
    from nanovlm_ros.mlc.language_model import LanguageModel
    from nanovlm_ros.models.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(resolve(model))
    context = context_length or checkpoint.positions
    if context > checkpoint.positions:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'context_length is {context}, but {checkpoint.name} was trained for '
            f'{checkpoint.positions} positions; set it to that or less.')
    chosen = QUANTIZATIONS[quantization]
    shape = checkpoint.shape(chosen)
    weights = packed_weights(checkpoint, chosen, progress)
    # Every admitted sequence can fill its context; one more context keeps prefixes.
    decoder = LanguageModel(
        shape, library(shape, progress), weights, rope_theta=checkpoint.rope_theta,
        positions=context, slots=context * (max_sequences + 1))
    ready = VisionLanguageModel(checkpoint, decoder, context)
    ready.warm_up()
    return ready


def _prepare_libraries() -> None:
    """Set what TVM and torch read from the environment when they are first imported."""
    # The node never compiles in its own process, so TVM's runtime is all it loads.
    os.environ.setdefault('TVM_USE_RUNTIME_LIB', '1')
    # A robot's processor is shared: OpenMP threads that spin at a barrier while the
    # others wait for a core made the vision tower ten times slower.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')


def resolve(model: str) -> Path:
    """Return the folder that `model` names; '' and 'demo' are the model that ships."""
    if model in ('', DEMO_MODEL):
        return demo_model()
    return Path(model).expanduser()


def demo_model() -> Path:
    """Return the folder of the model that ships: in the source tree, or installed."""
    places = [Path(__file__).parents[2] / 'assets' / 'demo_model']
    places += [Path(prefix) / 'share' / 'nanovlm_ros' / 'assets' / 'demo_model'
               for prefix in _prefixes()]
    for place in places:
        if (place / 'config.json').is_file():
            return place
    raise NanoVlmError(
        ErrorCode.MODEL_ERROR,
        'The demo model was not found in ' + ', '.join(map(str, places))
        + '. Reinstall the package, or set the parameter `model` to a model folder.')


def _prefixes():
    import sys

    return [*filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)), sys.prefix]


def _check(device, quantization, context_length, max_sequences) -> None:
    if device not in ('auto', 'cpu'):
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'The device {device!r} is not supported in this version; use auto or cpu.')
    if quantization not in QUANTIZATIONS:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'The quantization {quantization!r} is unknown; use one of '
            f'{", ".join(QUANTIZATIONS)}.')
    if context_length < 0 or max_sequences < 1:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'context_length is {context_length} and max_sequences {max_sequences}; '
            'they must be at least 0 and 1.')
