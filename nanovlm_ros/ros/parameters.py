# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node in one table: declarations, checks and README come from it.

`python -m nanovlm_ros.ros.parameters` prints the table of the README.
"""
import json
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from rcl_interfaces.msg import (
    FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult)

from nanovlm_ros.engine.device import AUTO, DEVICES
from nanovlm_ros.engine.events import parse_rules
from nanovlm_ros.engine.loader import SCALINGS, VISION_WEIGHTS
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import ACTIVATIONS, INT8
from nanovlm_ros.types import GenerationConfig

SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True)
class Row:
    """One parameter. Its type is its default's; empty members of a list do not count."""

    name: str
    default: Any
    description: str
    low: Optional[float] = None
    high: Optional[float] = None
    choices: Tuple[str, ...] = ()
    dynamic: bool = False  # may change while configured; the others only before
    blanks: bool = False   # of a list: an empty member means something

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor for `declare_parameter`."""
        descriptor = ParameterDescriptor(
            description=self.description,
            additional_constraints=self._limits() if self.choices or not self.dynamic else '')
        if self.low is not None and isinstance(self.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(self.low), to_value=float(self.high))]
        elif self.low is not None:
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)]
        return descriptor

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, '' if nothing."""
        if self.choices and value not in self.choices:
            return f'{self.name} is {value!r}; it must be one of {", ".join(self.choices)}.'
        check = {'live.json_schemas': _check_json, 'event.rules': parse_rules}.get(self.name)
        try:
            if check is not None:
                check([item for item in value if item.strip()])
        except ValueError as error:
            return f'{self.name} cannot be used: {error}'
        return ''

    def _limits(self) -> str:
        limits = []
        if self.choices:
            limits.append('one of ' + ', '.join(self.choices))
        if not self.dynamic:
            limits.append('only before configure')
        return '; '.join(limits)


_D = GenerationConfig()
TABLE = (
    Row('model', '', 'Folder of the model, or its name on the Hugging Face hub; empty: the demo '
        'model that ships.'),
    Row('revision', '', 'Branch, tag or commit of a model on the hub; empty: main.'),
    Row('trust_pickle', False, 'Read weights in files of pickles (.bin), which safetensors files '
        'make unnecessary; nothing but tensors is taken from them.'),
    Row('mlc_weights', '', 'Folder of weights in the format of MLC, for the language model; empty: '
        'those of the model. Their quantization is taken.'),
    Row('chat_template', '', 'Name of a chat template, or its JSON file; empty: as the model was '
        'trained.'),
    Row('vision_scaling', 'auto', 'How images are made square: auto, as the model was trained; '
        'the others also switch tiles off.', choices=SCALINGS),
    Row('vision_weights', AUTO, 'What matrices of vision are kept in: int8 takes half of the '
        'memory on a GPU, a quarter on a CPU; auto: int8 beside a language model of 4 bits.',
        choices=VISION_WEIGHTS),
    Row('device', AUTO, 'Where inference runs; auto: on a GPU that can run the model, else on the '
        'CPU.', choices=DEVICES),
    Row('quantization', 'q4f16_1', 'How the language model\'s weights are stored.',
        choices=tuple(QUANTIZATIONS)),
    Row('activations', INT8, 'What weights of 4 and 8 bits multiply with on a CPU: int8 is faster, '
        'float32 exact.', choices=ACTIVATIONS),
    Row('context_length', 0, 'Tokens of prompt and answer; 0: as the model was trained.',
        0, 1 << 20),
    Row('max_sequences', 4, 'Requests that are answered together.', 1, 64),
    Row('kv_cache_tokens', 0, 'Tokens that all requests, kept prefixes and windows share in the KV '
        'cache, at least context_length; 0: context_length for each of max_sequences and one more.',
        0, 1 << 26),
    Row('cameras', [''], 'Names of the cameras: each subscribes to <name>/image; empty: one '
        'camera on the topic image.'),
    Row('compressed', False, 'Subscribe to <topic>/compressed (JPEG, PNG) in place of <topic>.'),
    Row('max_image_age', 2.0, 'Oldest image that a query may use [s]; 0: no limit.',
        0, 3600, dynamic=True),
    Row('max_image_pixels', 50_000_000, 'Largest image that is decoded [pixels].',
        1, 1 << 31, dynamic=True),
    Row('system_prompt', '', 'System prompt of queries that bring none; empty: the model\'s.',
        dynamic=True),
    Row('live.enabled', False, 'Ask live.prompts about the newest image, again and again.',
        dynamic=True),
    Row('live.prompts', [''], 'Questions of the live loop.', dynamic=True),
    Row('live.source', 'latest', 'What the live prompts are about: the newest image, or the window '
        'of the first camera.', choices=('latest', 'window'), dynamic=True),
    Row('live.rate', 1.0, 'Rate of the live loop [Hz].', 0.01, 100, dynamic=True),
    Row('live.json_schemas', [''], 'JSON schemas of live answers: one a prompt, or one for all; '
        'an empty one is free text.', dynamic=True, blanks=True),
    Row('event.rules', [''], 'Events to watch for in live answers, published on ~/event/<name>: '
        'JSON as in docs/interfaces.md.'),
    Row('window.enabled', False, 'Keep a window of the newest frames of each camera, for '
        'image_source WINDOW.'),
    Row('window.frames', 8, 'Frames that a window holds at most.', 1, 256),
    Row('window.period', 1.0, 'Time between two frames of a window, by their stamps [s].',
        0, 3600),
    Row('window.mode', 'rolling', 'rolling keeps the frames in the KV cache, where a question '
        'finds them ready; exact computes them for each question anew.',
        choices=('rolling', 'exact')),
    Row('window.max_rolls', 0, 'Frames that a rolling window drops before a fresh one takes its '
        'place; 0: it drops none, grows to window.frames and goes on with its newer half.',
        0, 1 << 20),
    Row('prefill_chunk', 0, 'Rows of prompts in one step: a long prompt keeps running answers '
        'waiting for no more; 0: 128 on a CPU, 512 on a GPU [tokens].', 0, 1 << 16),
    Row('queue_size', 8, 'Requests that may wait.', 1, 1024),
    Row('ask_timeout', 30.0, 'Longest time to the reply of ~/ask [s].', 0.1, 3600, dynamic=True),
    Row('generate_timeout', 120.0, 'Longest time to the result of ~/generate [s].',
        0.1, 3600, dynamic=True),
    Row('watchdog_timeout', 60.0, 'Time after which a stuck inference step ends the process '
        'with exit code 70 [s].', 0.5, 3600),
    Row('generation.max_new_tokens', _D.max_new_tokens, 'Longest answer [tokens].',
        1, 1 << 20, dynamic=True),
    Row('generation.temperature', _D.temperature, 'Sampling temperature; 0: always the likeliest '
        'token.', 0, 10, dynamic=True),
    Row('generation.top_p', _D.top_p, 'Sample from the likeliest tokens that sum to this '
        'probability.', 0.001, 1, dynamic=True),
    Row('generation.repetition_penalty', _D.repetition_penalty, 'Above 1, tokens that were seen '
        'become less likely.', 0.01, 10, dynamic=True),
    Row('generation.seed', _D.seed, 'Seed of the sampling.', 0, (1 << 63) - 1, dynamic=True),
    Row('generation.stop', [''], 'An answer ends before the first of these.', dynamic=True),
    Row('stream.period', 0.02, 'Least time between two chunks of a stream [s]; 0: each token.',
        0, 60, dynamic=True),
    Row('autostart', True, 'Configure and activate the node when it starts.'),
)


class Parameters:
    """The node's parameters: `parameters['live.rate']` is the value now."""

    def __init__(self, node):
        self._node = node
        self._rows = {row.name: row for row in TABLE}
        self.locked = False  # configured: only dynamic ones may change
        for row in TABLE:
            node.declare_parameter(row.name, row.default, row.descriptor())
        problems = self.problems([(row.name, self[row.name]) for row in TABLE])
        if problems:
            raise ValueError(' '.join(problems))
        node.add_on_set_parameters_callback(self._check)

    def __getitem__(self, name: str) -> Any:
        value = self._node.get_parameter(name).value
        if not isinstance(value, (list, tuple)):
            return value
        return [item for item in value if item or self._rows[name].blanks]

    def problems(self, pairs) -> List[str]:
        """Return a sentence for each value that is not good."""
        return [p for p in (self._rows[name].problem(value) for name, value in pairs
                            if name in self._rows) if p]

    def generation(self) -> GenerationConfig:
        """Return the sampling defaults."""
        names = ('max_new_tokens', 'temperature', 'top_p', 'repetition_penalty', 'seed')
        return GenerationConfig(**{name: self[f'generation.{name}'] for name in names},
                                stop=tuple(self['generation.stop']))

    def _check(self, parameters) -> SetParametersResult:
        for parameter in parameters:
            row = self._rows.get(parameter.name)
            if row is not None and self.locked and not row.dynamic:
                return SetParametersResult(successful=False, reason=(
                    f'{row.name} cannot change while the node is configured; clean it up first '
                    '(lifecycle transition cleanup).'))
        problems = self.problems([(p.name, p.value) for p in parameters])
        return SetParametersResult(successful=not problems, reason=' '.join(problems))


def _check_json(texts: List[str]) -> None:
    for text in texts:
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{text[:SHOWN]!r} is not JSON: {error}.') from error


def markdown() -> str:
    """Return the table for the README."""
    lines = ['| parameter | default | meaning |', '|---|---|---|']
    for row in TABLE:
        value = '[]' if row.default == [''] else json.dumps(row.default)
        text = row.description
        if row.choices:
            text += f' One of {", ".join(row.choices)}.'
        elif row.low is not None:
            text += f' {row.low} to {row.high}.'
        name = f'`{row.name}`' + ('' if row.dynamic else ' *')
        lines.append(f'| {name} | `{value}` | {text} |')
    return '\n'.join([*lines, '', '\\* read when the node is configured.'])


if __name__ == '__main__':
    print(markdown())
