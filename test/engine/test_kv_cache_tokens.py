# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A KV cache of a size that one sets: what fits waits its turn, what cannot fit is refused."""
import threading
from types import SimpleNamespace

import pytest

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.loader import cache_slots, load
from nanovlm_ros.ros.windows import check_windows
from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError, Query

TOKENS = 100


@pytest.mark.parametrize('asked, rows', [(0, 5 * 300), (300, 300), (301, 301), (9000, 9000)])
def test_it_has_the_rows_asked_for_or_a_context_for_each_and_one(asked, rows):
    assert cache_slots(300, 4, asked) == rows


@pytest.mark.parametrize('options, said', [
    ({'context_length': 300, 'kv_cache_tokens': 299}, 'kv_cache_tokens is 299'),
    ({'kv_cache_tokens': -1}, 'kv_cache_tokens is -1'),
    ({'max_sequences': 0}, 'max_sequences is 0'), ({'context_length': -1}, 'context_length is -1'),
    ({'vision_weights': 'int4'}, "vision_weights is 'int4'; use one of auto, int8, float")])
def test_what_cannot_be_is_a_sentence(options, said):
    with pytest.raises(NanoVlmError) as caught:
        load(device='cpu', **options)
    assert caught.value.code == ErrorCode.INVALID_REQUEST and said in caught.value.message


def test_requests_that_do_not_fit_together_follow_each_other():
    """Four of 700 rows share a cache of 2048: none may end for want of rows."""
    executor = MlcExecutor(
        lambda: load(device='cpu', max_sequences=4, kv_cache_tokens=2048), max_sequences=4)
    executor.start()
    answers, ended = [], threading.Event()

    def on_answer(answer):
        answers.append(answer)
        if len(answers) == 4:
            ended.set()

    for number in range(4):
        executor.submit(Query(
            f'r{number}', f'{number}' + ' box' * 600, config=GenerationConfig(
                max_new_tokens=TOKENS, min_new_tokens=TOKENS)), lambda chunk: None, on_answer)
    assert ended.wait(120)
    executor.shutdown()
    assert {(a.error_code, a.completion_tokens) for a in answers} == {(ErrorCode.NONE, TOKENS)}


@pytest.mark.parametrize('rows, refused', [(100, False), (200, False), (201, True)])
@pytest.mark.parametrize('mode', ['rolling', 'exact'])
def test_a_rolling_window_whose_generations_do_not_fit_is_refused(rows, refused, mode):
    model = SimpleNamespace(
        name='m', layout=lambda prompt: SimpleNamespace(end=lambda frames: rows), max_images=9,
        max_frames=32, context_length=400, cache_rows=400)
    parameters = {'window.enabled': True, 'window.frames': 4, 'cameras': [''],
                  'system_prompt': '', 'window.mode': mode, 'max_sequences': 1}
    said = []
    if refused and mode == 'rolling':
        with pytest.raises(NanoVlmError) as caught:
            check_windows(parameters, model, SimpleNamespace(warning=said.append))
        assert 'kv_cache_tokens to 802' in caught.value.message
    else:
        check_windows(parameters, model, SimpleNamespace(warning=said.append))
        assert bool(said) == (mode == 'rolling'), 'there is no room for a question beside it'
