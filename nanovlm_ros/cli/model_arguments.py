# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The arguments by which every command names its model, and loading with a progress bar."""
from nanovlm_ros.mlc.packing import QUANTIZATIONS


def add_model_arguments(parser) -> None:
    """Add --model, --quantization and --context-length."""
    parser.add_argument('--model', default='', help='model folder (default: the demo model)')
    parser.add_argument('--quantization', default='q4f16_1', choices=QUANTIZATIONS,
                        help='how weights are stored (default: %(default)s)')
    parser.add_argument('--context-length', type=int, default=0, metavar='TOKENS',
                        help='of prompt and answer (default: as the model was trained)')


def load_model(arguments, **options):
    """Return the model that the arguments name; a build shows its progress on stderr.

    `options` go to `engine.loader.load`.
    """
    from nanovlm_ros.engine.loader import load

    with Progress() as progress:
        return load(arguments.model, quantization=arguments.quantization,
                    context_length=arguments.context_length, progress=progress, **options)


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
            self._bar, self._stage = tqdm(total=total, desc=stage), stage
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
