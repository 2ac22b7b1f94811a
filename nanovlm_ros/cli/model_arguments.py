# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The arguments by which every command names its model, and loading with a progress bar."""
import logging

from nanovlm_ros.engine.device import AUTO, DEVICES
from nanovlm_ros.engine.loader import SCALINGS, VISION_WEIGHTS
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import ACTIVATIONS, INT8


def add_model_arguments(parser) -> None:
    """Add the model and how it is loaded."""
    parser.add_argument('--model', default='', metavar='FOLDER|NAME',
                        help='folder, or name on the Hugging Face hub (default: the demo model)')
    parser.add_argument('--revision', default='', metavar='R',
                        help='branch, tag or commit of a model on the hub (default: main)')
    parser.add_argument('--trust-pickle', action='store_true',
                        help='read weights in .bin files, from a source that you trust')
    parser.add_argument('--mlc-weights', default='', metavar='FOLDER',
                        help="language model's weights in the format of MLC, with their "
                             'quantization')
    parser.add_argument('--chat-template', default='', metavar='NAME|FILE',
                        help="name of a template, or a JSON file with one (default: the model's)")
    parser.add_argument('--vision-scaling', default='auto', choices=SCALINGS,
                        help='how a picture is made square; auto: as the model was trained '
                             '(default: %(default)s)')
    parser.add_argument('--vision-weights', default=AUTO, choices=VISION_WEIGHTS,
                        help='what matrices of vision are kept in; auto: int8 beside a language '
                             'model of 4 bits (default: %(default)s)')
    parser.add_argument('--device', default=AUTO, choices=DEVICES,
                        help='where the model runs; auto: on the GPU, if there is one that can '
                             '(default: %(default)s)')
    parser.add_argument('--quantization', default='q4f16_1', choices=QUANTIZATIONS,
                        help='how weights are stored (default: %(default)s)')
    parser.add_argument('--activations', default=INT8, choices=ACTIVATIONS,
                        help='what weights of 4 and 8 bits multiply with on a CPU '
                             '(default: %(default)s)')
    parser.add_argument('--context-length', '--max-context-len', type=int, default=0,
                        metavar='TOKENS',
                        help='of prompt and answer (default: as the model was trained)')
    parser.add_argument('--kv-cache-tokens', type=int, default=0, metavar='TOKENS',
                        help='that all sequences and kept prefixes share (default: '
                             'context length for each sequence, and once more)')


def load_model(arguments, **options):
    """Return the model that the arguments name; a build shows its progress on stderr.

    `options` go to `engine.loader.load`.
    """
    from nanovlm_ros.engine.loader import load

    if arguments.model:
        _tell_memory()
    with Progress() as progress:
        return load(arguments.model, progress=progress, **load_options(arguments), **options)


def _tell_memory() -> None:
    """Show what a model that one brings will take, before it is loaded."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter('nanovlm: %(message)s'))
    log = logging.getLogger('nanovlm_ros.engine.memory')
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)


def load_options(arguments) -> dict:
    """Return what the arguments say to `engine.loader.load`, beside the model."""
    return {name: getattr(arguments, name) for name in (
        'revision', 'device', 'trust_pickle', 'mlc_weights', 'chat_template', 'vision_scaling',
        'vision_weights', 'quantization', 'activations', 'context_length', 'kv_cache_tokens')}


class Progress:
    """A bar for each stage of a build."""

    def __init__(self):
        self._bar, self._stage = None, ''

    def __enter__(self) -> 'Progress':
        return self

    def __call__(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self.__exit__()
            # A download counts bytes, and what an earlier run brought is no speed of this one.
            units = ({'unit': 'B', 'unit_scale': True, 'initial': done}
                     if stage.startswith('download') or stage == 'quantize' else {})
            self._bar, self._stage = tqdm(total=total, desc=stage, **units), stage
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar, self._stage = None, ''
