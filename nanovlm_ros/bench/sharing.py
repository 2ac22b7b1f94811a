# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is saved by sharing: frames of a window, prompts on one frame, a query beside live ones."""
import threading
import time
from statistics import median
from typing import Callable, Dict, List

import torch

from nanovlm_ros.bench.samples import Clock
from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.types import Answer, Frame, GenerationConfig, Query

PROMPTS = (
    'Is there a person?', 'Is the door open?', 'How many boxes are there?', 'Is there a ball?',
    'What does the sign say?', 'Is there a cone?', 'Is the way clear?', 'Is the floor wet?')
WINDOWS = (2, 4, 8, 16)  # frames
SEQUENCES = len(PROMPTS)


def measure_sharing(load: Callable, repeat: int, picture: Callable[[], Frame]) -> dict:
    """Return medians of `repeat` runs [ms] and their ratios; `picture` makes a new frame.

    `load` makes a model with room for SEQUENCES.
    """
    found: Dict[str, float] = {}

    def loaded():
        model = load()
        found.update(_windows(model, repeat, picture))
        return model

    executor = MlcExecutor(loaded, max_sequences=SEQUENCES)
    executor.start()
    try:
        return {**found, **_one_and_eight(executor, repeat, picture),
                **_beside_live(executor, repeat, picture)}
    finally:
        executor.shutdown()


def _windows(model, repeat: int, picture: Callable[[], Frame]) -> dict:
    """Return the medians [ms] of a new frame in a full window."""
    result: Dict[str, float] = {'vision_and_one_prefill_ms': _ms(one_frame(model, repeat, picture))}
    base = result['vision_and_one_prefill_ms']
    for frames in (n for n in WINDOWS if n + 1 <= model.max_images):
        result[f'rolling_{frames}_ms'] = _ms(rolling(model, frames, repeat, picture))
        result[f'exact_{frames}_ms'] = _ms(_exact(model, frames, repeat, picture))
        for mode in ('rolling', 'exact'):
            result[f'{mode}_{frames}_ratio'] = round(result[f'{mode}_{frames}_ms'] / base, 2)
    return result


def one_frame(model, repeat: int, picture: Callable[[], Frame]) -> List[float]:
    """Return the seconds of vision and prefill of single frames."""
    clock, seconds = _clock(model), []
    for _ in range(repeat):
        frame = picture()
        seconds.append(clock(lambda: _fill_one(model, frame)))
    return seconds


def _fill_one(model, frame: Frame) -> None:
    """Pass a frame through the tower and run its rows after those that all prompts share."""
    from nanovlm_ros.models.prompt import Turn

    prompt = model.tokenize([Turn('', (frame,))])
    model.see(frame)
    sequence, shared = model.open(prompt)
    model.step([(sequence, prompt.spans[0][2] - shared)], [])
    model.release(sequence, keep=False)


def rolling(model, frames: int, repeat: int, picture: Callable[[], Frame]) -> List[float]:
    """Return the seconds that a new frame takes in a full rolling window."""
    from nanovlm_ros.engine.window import FrameWindow

    window, clock, seconds = FrameWindow(frames, 0.0, 0), _clock(model), []
    for number in range(2 * frames + repeat):
        window.add(picture(), number)
        seconds.append(clock(lambda: model.watch('bench', window.generations())))
    model.watch('bench', ())
    return seconds[2 * frames:]


def _exact(model, frames: int, repeat: int, picture) -> List[float]:
    from nanovlm_ros.models.prompt import Turn

    window, clock, seconds = [picture() for _ in range(frames)], _clock(model), []
    for frame in window:
        model.see(frame)
    for _ in range(repeat):
        window = [*window[1:], picture()]
        prompt = model.tokenize([Turn('', tuple(window))])

        def fill():
            model.see(window[-1])
            sequence, shared = model.open(prompt)
            model.step([(sequence, prompt.spans[-1][2] - shared)], [])
            model.release(sequence, keep=False)
        seconds.append(clock(fill))
    return seconds


def _clock(model) -> Clock:
    """Return the clock of the device that a model runs on."""
    return Clock(torch.device(model.device))


def _one_and_eight(executor, repeat: int, picture) -> dict:
    one, eight = [], []
    for _ in range(repeat):
        for prompts, seconds in ((PROMPTS[:1], one), (PROMPTS, eight)):
            frame = picture()
            seconds.append(_timed(lambda: _ask_together(executor, frame, prompts)))
    return {'one_prompt_ms': _ms(one), 'eight_prompts_ms': _ms(eight),
            'eight_prompts_ratio': round(median(eight) / median(one), 2)}


def _beside_live(executor, repeat: int, picture) -> dict:
    """First token of a query about a new image: when all is idle, and amid a live answer."""
    idle, busy, stop = [], [], threading.Event()
    for _ in range(repeat):
        idle += _ask_together(executor, picture(), PROMPTS[:1])
        stop.clear()
        streaming = threading.Event()
        executor.submit_tick(
            [Query('live', 'Describe the scene.', frames=(picture(),), config=GenerationConfig(
                max_new_tokens=512, temperature=5.0))],
            lambda chunk: streaming.set(), lambda answer: stop.set())
        streaming.wait()
        busy += _ask_together(executor, picture(), PROMPTS[:1])
        stop.wait()
    first = [median(a.timings.first_token for a in answers) for answers in (idle, busy)]
    return {'query_first_token_idle_ms': round(first[0] * 1000, 2),
            'query_first_token_beside_live_ms': round(first[1] * 1000, 2),
            'query_beside_live_ratio': round(first[1] / first[0], 2)}


def _ask_together(executor, frame: Frame, prompts) -> List[Answer]:
    answers: List[Answer] = []
    done = threading.Event()

    def on_answer(answer: Answer) -> None:
        answers.append(answer)
        if len(answers) == len(prompts):
            done.set()

    for number, prompt in enumerate(prompts):
        executor.submit(Query(str(number), prompt, frames=(frame,),
                              config=GenerationConfig(max_new_tokens=16)),
                        lambda chunk: None, on_answer)
    done.wait()
    return answers


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _ms(seconds) -> float:
    return round(median(seconds) * 1000, 2)
