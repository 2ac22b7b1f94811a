# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure the engine, and with --node the ROS node around it; medians, as JSON."""
import json
import os
import platform
import threading
import time
from statistics import median
from typing import Callable, List

import numpy as np

from nanovlm_ros.types import Answer, Frame, GenerationConfig, Query

PROMPT = 'Is there a box?'
DESCRIBE = 'Describe the scene.'
SIZE = (480, 640, 3)


def add_arguments(parser) -> None:
    """Add the model's arguments and what to measure."""
    from nanovlm_ros.cli.model_arguments import add_model_arguments

    add_model_arguments(parser)
    parser.add_argument('--repeat', type=int, default=20, help='runs of each (default: 20)')
    parser.add_argument('--node', action='store_true',
                        help='also measure the ROS node: overhead, camera to answer, idle CPU')
    parser.add_argument('--sharing', action='store_true',
                        help='also measure windows, eight prompts on a frame, a query amid a live '
                             'answer')
    parser.add_argument('--output', metavar='FILE', help='also write the JSON here')


def run(arguments) -> int:
    """Print the measurements."""
    result = {'machine': f'{platform.machine()}, {os.cpu_count()} cores',
              'python': platform.python_version(), 'engine': measure_engine(arguments)}
    if arguments.sharing:
        result['sharing'] = measure_sharing(arguments)
    if arguments.node:
        from nanovlm_ros.ros.bench import measure_node

        result['node'] = measure_node(arguments.repeat, lambda: picture().rgb)
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.output:
        with open(arguments.output, 'w', encoding='utf-8') as file:
            file.write(text + '\n')
    return 0


def picture() -> Frame:
    """Return a new 640x480 frame of noise."""
    return Frame.from_rgb(np.random.default_rng().integers(0, 256, SIZE, np.uint8))


def measure_engine(arguments) -> dict:
    """Return medians over `arguments.repeat` runs of each measurement."""
    from nanovlm_ros.cli.model_arguments import load_model
    from nanovlm_ros.engine.executor import MlcExecutor

    began = time.monotonic()
    executor = MlcExecutor(lambda: load_model(arguments))
    executor.start()
    loaded = time.monotonic() - began
    try:
        repeat, frame = arguments.repeat, picture()
        fresh = _ask_often(executor, repeat, PROMPT, picture)
        cached = _ask_often(executor, repeat, PROMPT, lambda: frame)
        # Noise makes no sentence: many tokens are asked for, at a temperature.
        long = _ask_often(executor, repeat, DESCRIBE, lambda: frame, temperature=1.0, tokens=64)
        return {
            'load_s': round(loaded, 2),
            'fresh_first_token_ms_p50': _ms(a.timings.first_token for a in fresh),
            'fresh_answer_ms_p50': _ms(a.timings.total for a in fresh),
            'vision_ms_p50': _ms(a.timings.vision for a in fresh),
            'prefill_ms_p50': _ms(a.timings.prefill for a in fresh),
            'prompt_tokens': fresh[-1].prompt_tokens,
            'cached_first_token_ms_p50': _ms(a.timings.first_token for a in cached),
            'cached_answer_ms_p50': _ms(a.timings.total for a in cached),
            'decode_tokens_per_second_p50': round(median(
                (a.completion_tokens - 1) / a.timings.decode
                for a in long if a.timings.decode), 1),
            'resident_mib': _resident_mib(),
        }
    finally:
        executor.shutdown()


def measure_sharing(arguments) -> dict:
    """Return what windows and shared prefixes cost; see `cli.bench_sharing`."""
    from nanovlm_ros.cli import bench_sharing
    from nanovlm_ros.cli.model_arguments import load_model
    from nanovlm_ros.engine.executor import MlcExecutor

    model = load_model(arguments, max_sequences=8)
    result = bench_sharing.measure_windows(model, arguments.repeat, picture)
    model.close()
    executor = MlcExecutor(lambda: load_model(arguments, max_sequences=8), max_sequences=8)
    executor.start()
    try:
        return {**result, **bench_sharing.measure_sharing(executor, arguments.repeat, picture)}
    finally:
        executor.shutdown()


def _ask_often(executor, repeat: int, prompt: str, frame: Callable[[], Frame],
               temperature: float = 0.0, tokens: int = 16) -> List[Answer]:
    return [_ask(executor, prompt, frame(), GenerationConfig(
        max_new_tokens=tokens, temperature=temperature, seed=i)) for i in range(repeat + 2)][2:]


def _ask(executor, prompt: str, frame: Frame, config: GenerationConfig) -> Answer:
    ended, answers = threading.Event(), []

    def on_answer(answer: Answer) -> None:
        answers.append(answer)
        ended.set()

    executor.submit(Query('bench', prompt, frames=(frame,), config=config),
                    lambda chunk: None, on_answer)
    ended.wait()
    return answers[0]


def _ms(seconds) -> float:
    return round(median(seconds) * 1000, 2)


def _resident_mib() -> float:
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
