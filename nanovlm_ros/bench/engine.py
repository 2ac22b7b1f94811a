# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions as a robot asks them, through the executor; vision and windows on its thread."""
import threading
import time
from statistics import median
from typing import Any, Callable, Dict, List

import numpy as np
import torch

from nanovlm_ros.bench.samples import LEAST, PATIENCE, Clock, in_ms, take_turns
from nanovlm_ros.bench.sharing import WINDOWS, one_frame, rolling
from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import ERROR, Answer, Frame, GenerationConfig, NanoVlmError, Query

PROMPT = 'Is there a box?'
DESCRIBE = 'Describe the scene.'
FILLING = ' box'
CAMERA = (480, 640, 3)
SQUARE = (384, 384, 3)
MOST_FRAMES = 8  # of the window that is measured
WORD = GenerationConfig(max_new_tokens=2, min_new_tokens=2)  # yes or no, and the end

Measured = Dict[str, Dict[str, Any]]


def picture(size=CAMERA) -> Frame:
    """Return a new frame of noise."""
    return Frame.from_rgb(np.random.default_rng().integers(0, 256, size, np.uint8))


def measure_engine(load: Callable, repeat: int, brief: bool) -> Dict[str, Any]:
    """Return what loading took [s] and what the parts and whole answers take.

    `load` makes the model, on the executor's thread; its context is filled once. `brief` leaves
    out all but that and vision.
    """
    found: Dict[str, Any] = {}

    def loaded():
        began = time.monotonic()
        model = load()
        found['load_s'] = round(time.monotonic() - began, 2)
        _fill_context(model)
        found['measured'] = _vision(model, repeat)
        if not brief:
            found['measured'].update(_window(model, repeat))
        return model

    executor = MlcExecutor(loaded)
    executor.start()
    try:
        if not brief:
            found['measured'].update(_questions(executor, repeat))
        return found
    finally:
        executor.shutdown()


def _fill_context(model) -> None:
    """Fill a sequence in steps as large as the engine makes them: that takes the most memory."""
    few, many = (model.tokenize([Turn(FILLING * words)]).n_tokens for words in (1, 65))
    words = 1 + 64 * (model.context_length - few) // (many - few)
    prompt = model.tokenize([Turn(FILLING * words)])
    sequence, _ = model.open(prompt)
    for start in range(0, prompt.n_tokens, model.prefill_chunk):
        model.step([(sequence, min(model.prefill_chunk, prompt.n_tokens - start))], [])
    model.release(sequence, keep=False)


def _vision(model, repeat: int) -> Measured:
    """The way of an image to rows of the language model, in its two parts."""
    clock = Clock(torch.device(getattr(model, 'device', 'cpu')))
    frames = {}

    def preprocess() -> float:
        frame = picture(SQUARE)
        frames['next'] = frame
        prompt = model.tokenize([Turn('', (frame,))])
        return clock(lambda: model.preprocess(prompt))

    def see() -> float:
        return clock(lambda: model.see(frames['next']))
    runs = take_turns({'preprocess': preprocess, 'vision': see}, repeat)
    return {name: in_ms(seconds) for name, seconds in runs.items()}


def _window(model, repeat: int) -> Measured:
    """A new frame in the fullest window that there is room for, and alone."""
    layout = model.layout()
    frames = max((n for n in WINDOWS if n <= min(MOST_FRAMES, model.max_images - 1)
                  and 2 * layout.end(n) <= model.cache_rows),  # a window has two generations
                 default=0)
    if not frames:
        return {}
    began = time.monotonic()
    one_frame(model, 1, picture)
    affordable = int(PATIENCE / max(time.monotonic() - began, 1e-9))
    count = min(repeat, max(LEAST, affordable))
    return {'frame': in_ms(one_frame(model, count, picture)),
            f'window_{frames}': in_ms(rolling(model, frames, count, picture))}


def _questions(executor: MlcExecutor, repeat: int) -> Measured:
    """Answers about new images, about the same image again, and long ones."""
    same = picture()
    asked = {
        'yes_no': lambda: ask(executor, PROMPT, picture(SQUARE), WORD),
        'fresh': lambda: ask(executor, PROMPT, picture(), GenerationConfig(max_new_tokens=16)),
        'cached': lambda: ask(executor, PROMPT, same, GenerationConfig(max_new_tokens=16)),
        # Noise makes no sentence: many tokens are asked for, at a temperature.
        'long': lambda: ask(executor, DESCRIBE, same, GenerationConfig(
            max_new_tokens=32, min_new_tokens=32, temperature=1.0))}
    answers: Dict[str, List[Answer]] = {name: [] for name in asked}

    def run(name: str) -> Callable[[], float]:
        def once() -> float:
            answers[name].append(asked[name]())
            return answers[name][-1].timings.total
        return once
    seconds = take_turns({name: run(name) for name in asked}, repeat)
    # Of the turns that count: with slow models the first is among them.
    fresh, cached, long = (answers[name][-len(seconds[name]):]
                           for name in ('fresh', 'cached', 'long'))
    tokens = [(a.completion_tokens - 1) / a.timings.decode for a in long if a.timings.decode]
    return {
        'yes_no': in_ms(seconds['yes_no']),
        'frames_per_second': {
            'unit': '/s', 'median': round(1 / median(seconds['yes_no']), 1),
            'min': round(1 / max(seconds['yes_no']), 1),
            'max': round(1 / min(seconds['yes_no']), 1), 'runs': len(seconds['yes_no'])},
        'fresh_answer': in_ms(seconds['fresh']),
        'fresh_first_token': in_ms([a.timings.first_token for a in fresh]),
        'fresh_vision': in_ms([a.timings.vision for a in fresh]),
        'fresh_prefill': in_ms([a.timings.prefill for a in fresh]),
        'prompt_rows': {'unit': '', 'median': fresh[-1].prompt_tokens},
        'cached_answer': in_ms(seconds['cached']),
        'cached_first_token': in_ms([a.timings.first_token for a in cached]),
        'answer_decode': {'unit': 'tokens/s', 'median': round(median(tokens), 1),
                          'min': round(min(tokens), 1), 'max': round(max(tokens), 1),
                          'runs': len(tokens)},
    }


def ask(executor: MlcExecutor, prompt: str, frame: Frame, config: GenerationConfig) -> Answer:
    """Return the answer about a frame. Raises NanoVlmError where it ended in an error."""
    ended, answers = threading.Event(), []

    def on_answer(answer: Answer) -> None:
        answers.append(answer)
        ended.set()

    executor.submit(Query('bench', prompt, frames=(frame,), config=config),
                    lambda chunk: None, on_answer)
    ended.wait()
    if answers[0].finish_reason == ERROR:
        raise NanoVlmError(answers[0].error_code, answers[0].error_message)
    return answers[0]
