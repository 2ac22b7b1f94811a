# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From a model's name or folder to a model that answers."""
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Tuple

from nanovlm_ros.engine.device import AUTO, DEVICES, choose_device
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import ACTIVATIONS, INT8
from nanovlm_ros.types import ErrorCode, NanoVlmError, Progress

if TYPE_CHECKING:
    import numpy as np

    from nanovlm_ros.engine.model import VisionLanguageModel
    from nanovlm_ros.mlc.mlc_weights import MlcWeights
    from nanovlm_ros.mlc.shape import DecoderShape
    from nanovlm_ros.models.checkpoint import Checkpoint
    from nanovlm_ros.models.templates import Template

DEMO_MODEL = 'demo'
SCALINGS = (AUTO, 'resize', 'pad', 'crop')
VISION_WEIGHTS = (AUTO, INT8, 'float')
WAITING = 'OMP_WAIT_POLICY'  # of OpenMP's threads, which it reads when it is loaded
THREADS = OMP_THREADS, TVM_THREADS = 'OMP_NUM_THREADS', 'TVM_NUM_THREADS'  # of a process


def load(model: str = '', *, revision: str = '', device: str = AUTO,
         quantization: str = 'q4f16_1', activations: str = INT8, context_length: int = 0,
         max_sequences: int = 4, kv_cache_tokens: int = 0, chat_template: str = '',
         vision_scaling: str = AUTO, vision_weights: str = AUTO, trust_pickle: bool = False,
         mlc_weights: str = '', progress: Progress = lambda stage, done, total: None
         ) -> 'VisionLanguageModel':
    """Return a model ready for `MlcExecutor`; call it on the thread that will use it.

    `model` is a folder, the name of a model on the Hugging Face hub (at `revision`), or '' for
    the one that ships. `device` is cpu, cuda, or auto: a GPU if there is one that can run the
    model. `activations` is what weights of 4 and 8 bits multiply with on a CPU, int8 or float32;
    other weights always multiply with float32. `context_length` 0 takes the length the model was
    trained for; `kv_cache_tokens` are what all sequences, kept prefixes and windows share, as
    `cache_slots` says. `chat_template` and `vision_scaling` replace what the model was trained
    with: a template's name or JSON file, and resize, pad or crop (which also switch tiles off).
    `vision_weights` is what the matrices of tower and projector are kept in, int8 or float; auto:
    int8 beside a language model of 4 bits. `mlc_weights` is a folder of weights in MLC's format,
    for the language model, and its quantization is taken; so is that of a folder that `nanovlm
    compile --output` made. Pickles are read only with `trust_pickle`. Raises NanoVlmError with a
    sentence.
    """
    _check(device, quantization, activations, context_length, max_sequences, kv_cache_tokens,
           vision_scaling, vision_weights)
    prepare_libraries()
    from nanovlm_ros.engine.build import packed_weights
    from nanovlm_ros.engine.interrupt import guarded
    from nanovlm_ros.mlc.mlc_weights import load_mlc_folder
    from nanovlm_ros.models.template_file import load_template

    progress = guarded(progress)
    template = load_template(chat_template) if chat_template else None
    converted, chosen = None, QUANTIZATIONS[quantization]
    if mlc_weights:
        converted = load_mlc_folder(Path(mlc_weights).expanduser(), progress)
        chosen = converted.quantization
    place = choose_device(device, chosen.name)  # before anything is downloaded
    checkpoint = open_checkpoint(model, revision, trust_pickle, progress)
    if vision_scaling != AUTO:
        checkpoint = replace(checkpoint, config={
            **checkpoint.config, 'image_aspect_ratio': vision_scaling})
    if checkpoint.converted and not converted:
        mlc_weights = str(checkpoint.converted)
        converted = load_mlc_folder(checkpoint.converted, progress)
        chosen = converted.quantization
        place = choose_device(device, chosen.name)
    if converted:
        check_same(checkpoint, converted.llm, mlc_weights)
        checkpoint = replace(checkpoint, llm=converted.llm)
    context = context_length or checkpoint.positions
    if context > checkpoint.positions:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'context_length is {context}, but {checkpoint.name} was trained for '
            f'{checkpoint.positions} positions; set it to that or less.')
    shape = checkpoint.shape(chosen).on(place, activations)
    return assemble(
        checkpoint, shape, lambda: converted.packed(shape) if converted else packed_weights(
            checkpoint, shape, progress),
        context=context, slots=cache_slots(context, max_sequences, kv_cache_tokens),
        template=template, vision_weights=vision_weights, activations=activations,
        progress=progress)


def assemble(checkpoint: 'Checkpoint', shape: 'DecoderShape',
             weights: 'Callable[[], Mapping[str, np.ndarray]]', *, context: int,
             slots: int, template: 'Optional[Template]' = None, vision_weights: str = AUTO,
             activations: str = INT8, progress: Progress = lambda stage, done, total: None
             ) -> 'VisionLanguageModel':
    """Return a warm model of a checkpoint, a decoder's shape and its weights.

    It runs on the device of `shape` (see `engine.device`). `weights` may convert for minutes: it
    is called when the memory was found to suffice and all the rest of the model is sound; it
    gives the parameters as the library takes them, by the names of
    `DecoderShape.parameter_names`. `context` is in tokens, and is at most
    `checkpoint.positions`; `slots` are the rows of the KV cache. Without a `template` it is the
    one that the language model was trained with; `vision_weights` and `activations` are as in
    `load`, for vision. Raises NanoVlmError OUT_OF_MEMORY, MODEL_ERROR, and NOT_READY for what a
    GPU lacks.
    """
    prepare_libraries()
    from nanovlm_ros.engine.build import library
    from nanovlm_ros.engine.companion import Companion
    from nanovlm_ros.engine.memory import check_memory, needed
    from nanovlm_ros.engine.model import VisionLanguageModel
    from nanovlm_ros.mlc.language_model import LanguageModel, open_language_model
    from nanovlm_ros.mlc.target import Target

    companion = Companion(shape.device, progress)
    place = companion.placement(shape, vision_weights, activations)
    check_memory(checkpoint.name, needed(checkpoint, shape, slots, place))

    def decoder() -> LanguageModel:
        parameters = weights()
        return open_language_model(
            shape, library(shape, progress, Target.here(shape.device)), parameters,
            rope_theta=checkpoint.rope_theta, positions=context, slots=slots)

    ready = VisionLanguageModel(checkpoint, place, decoder, context, template,
                                companion.sampler())
    ready.warm_up()
    return ready


def cache_slots(context: int, max_sequences: int, kv_cache_tokens: int) -> int:
    """Return the rows of the KV cache: those asked for, or so many that nobody runs short.

    Then every sequence that is admitted can fill its context, and one more context keeps prefixes
    and windows. Raises INVALID_REQUEST for less than one context.
    """
    if 0 < kv_cache_tokens < context:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'kv_cache_tokens is {kv_cache_tokens}, but one sequence may have the {context} tokens '
            'of context_length; set it to that or more, to 0, or lower context_length.')
    return kv_cache_tokens or context * (max_sequences + 1)


def use_converted(checkpoint: 'Checkpoint', mlc_weights: str, progress: Progress
                  ) -> 'Tuple[Checkpoint, Optional[MlcWeights]]':
    """Return a checkpoint with the language model of weights in MLC's format, and those weights.

    They lie in the folder `mlc_weights`, or in the one that the checkpoint has; where there is
    neither, the checkpoint stays as it is. Raises MODEL_ERROR for weights of another model.
    """
    from nanovlm_ros.mlc.mlc_weights import load_mlc_folder

    folder = mlc_weights or checkpoint.converted
    if not folder:
        return checkpoint, None
    given = load_mlc_folder(Path(folder).expanduser(), progress)
    check_same(checkpoint, given.llm, str(folder))
    return replace(checkpoint, llm=given.llm), given


def check_same(checkpoint: 'Checkpoint', llm: dict, mlc_weights: str) -> None:
    """Refuse weights of another model: the tokenizer and the projector are the checkpoint's.

    `llm` is what the weights say of theirs. Raises MODEL_ERROR.
    """
    for key in ('hidden_size', 'num_hidden_layers', 'vocab_size'):
        if llm.get(key) != checkpoint.llm.get(key):
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'The weights in {mlc_weights} have {key} {llm.get(key)}, but {checkpoint.name} '
                f'has {checkpoint.llm.get(key)}: they are of another model.')


def open_checkpoint(model: str, revision: str = '', trust_pickle: bool = False,
                    progress: Progress = lambda stage, done, total: None) -> 'Checkpoint':
    """Return the checkpoint of a folder or of a hub name; what is not here is downloaded."""
    from nanovlm_ros.models.hub_files import is_hub_name
    from nanovlm_ros.models.layouts import open_model_folder

    def fetch(name: str, revision: str = '', tower: bool = False) -> Path:
        from nanovlm_ros.models.hub import fetch_model

        return fetch_model(name, revision, progress, vision_tower=tower)

    path = resolve(model)
    published = not path.exists() and is_hub_name(model)
    return open_model_folder(
        fetch(model, revision) if published else path, trust_pickle=trust_pickle,
        name=model.rsplit('/', 1)[-1] if published else '',
        find_tower=lambda name: fetch(name, tower=True))


def prepare_libraries() -> None:
    """Set what TVM and torch read from the environment when they are first imported."""
    # The node never compiles in its own process, so TVM's runtime is all it loads.
    os.environ.setdefault('TVM_USE_RUNTIME_LIB', '1')
    # A robot's processor is shared: OpenMP threads that spin at a barrier while the
    # others wait for a core made the vision tower ten times slower.
    os.environ.setdefault(WAITING, 'PASSIVE')
    # What cuBLAS works in, for each stream that uses it [KiB]: 32 MiB of an H200 otherwise, and no
    # faster.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':1024:1')
    # TVM's spin 50 ms by themselves, in the way of torch's: attention of vision took 1.7 times
    # as long.
    os.environ.setdefault('TVM_THREAD_POOL_SPIN_COUNT', '4000')
    # TVM takes half of an x86 processor's threads, for the cores; not all have two for each.
    os.environ.setdefault(TVM_THREADS, os.environ.get(OMP_THREADS) or str(_cores()))


def _cores() -> int:
    """Return how many cores this process may use, counted as torch does: not their threads."""
    mine, cores = os.sched_getaffinity(0), set()
    for cpu in mine:
        topology = Path(f'/sys/devices/system/cpu/cpu{cpu}/topology')
        try:
            cores.add(tuple((topology / name).read_text() for name in (
                'physical_package_id', 'core_id')))
        except OSError:  # a container may hide it
            return len(mine)
    return len(cores)


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


def _check(device, quantization, activations, context_length, max_sequences, kv_cache_tokens,
           vision_scaling, vision_weights) -> None:
    for name, value, choices in (('vision_scaling', vision_scaling, SCALINGS),
                                 ('vision_weights', vision_weights, VISION_WEIGHTS)):
        if value not in choices:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'{name} is {value!r}; use one of {", ".join(choices)}.')
    if device not in DEVICES:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'The device {device!r} is unknown; use one of {", ".join(DEVICES)}.')
    if quantization not in QUANTIZATIONS:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'The quantization {quantization!r} is unknown; use one of '
            f'{", ".join(QUANTIZATIONS)}.')
    if activations not in ACTIVATIONS:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'activations is {activations!r}; use one of {", ".join(ACTIVATIONS)}.')
    for name, value, least in (('context_length', context_length, 0),
                               ('max_sequences', max_sequences, 1),
                               ('kv_cache_tokens', kv_cache_tokens, 0)):
        if value < least:
            raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                               f'{name} is {value}; it must be at least {least}.')
