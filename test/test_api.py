# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm_ros.load` and `Model`: a few lines of Python, and what they promise."""
import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, broken_frame, gray
from PIL import Image

import nanovlm_ros
from nanovlm_ros.api import Model
from nanovlm_ros.types import ErrorCode, JsonStatus, NanoVlmError

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / 'examples' / 'pictures'
SCHEMA = {'type': 'object', 'properties': {'a': {'type': 'boolean'}}, 'required': ['a'],
          'additionalProperties': False}
LONG = ' ' + 'x' * 1000
PATIENCE = 20  # s; only a hang takes so long


@pytest.fixture
def fake():
    """Return (Model, FakeModel)."""
    inner = FakeModel()
    with Model(lambda: inner) as model:
        yield model, inner
    assert inner.closed


def refused(call, *arguments, **options):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, **options)
    return caught.value


def test_importing_the_package_loads_neither_engine_nor_ros():
    code = ('import sys, nanovlm_ros\n'
            'heavy = {"torch", "numpy", "tvm", "rclpy", "PIL"} & set(sys.modules)\n'
            'assert not heavy, heavy\n'
            'assert callable(nanovlm_ros.load) and nanovlm_ros.Model.__name__ == "Model"\n'
            'assert not {"torch", "tvm", "rclpy"} & set(sys.modules)\n'
            'from nanovlm_ros import load\n')
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_the_package_has_no_other_names_by_magic():
    with pytest.raises(AttributeError, match='speak'):
        nanovlm_ros.speak


# -- with a model that says what it is told to ---------------------------------------------------

def test_a_question_is_answered_piece_by_piece(fake):
    model, _ = fake
    stream = model.generate('What is this?')
    chunks = list(stream)
    assert len(chunks) > 5 and [c.done for c in chunks[-2:]] == [False, True]
    assert ''.join(c.delta for c in chunks) == chunks[-1].text == 'What is this?||1'
    assert stream.answer.text == chunks[-1].text and list(stream) == []


def test_images_of_every_kind_come_in_their_order_before_the_texts(fake, tmp_path):
    model, _ = fake
    path = tmp_path / 'a.png'
    Image.new('RGB', (8, 8), (10, 10, 10)).save(path)
    prompt = [path, 'Compare.', Image.new('L', (8, 8), 20), np.full((8, 8, 3), 30, np.uint8),
              gray(40), str(path), 'Well?']
    assert model.ask(prompt).text == 'Compare.\nWell?|10,20,30,40,10|1'


def test_what_is_not_given_is_greedy_and_what_is_given_arrives(fake):
    model, inner = fake
    seen = []
    inner.reply = lambda turns: seen.append(turns) or ' abcdefgh'
    assert model.ask('x', max_new_tokens=4).text == 'abc'
    assert model.ask('x', stop=['ef']).text == 'abcd'
    assert model.ask('x', min_new_tokens=12).completion_tokens == 12
    for options in ({'temperature': -1}, {'top_p': 0}, {'seed': -1}, {'max_new_tokens': 0},
                    {'repetition_penalty': 0}, {'stop': ['']}):
        assert refused(model.generate, 'x', **options).code == ErrorCode.INVALID_REQUEST


def test_a_schema_may_be_a_dict_or_a_text(fake):
    model, inner = fake
    inner.reply = lambda turns: '{"a": true}'
    for schema in (SCHEMA, json.dumps(SCHEMA)):
        answer = model.ask('x', json_schema=schema)
        assert json.loads(answer.json) == {'a': True} and answer.json_status == JsonStatus.VALID
    short = model.ask('x', json_schema=SCHEMA, max_new_tokens=3)
    assert (short.json, short.json_status) == ('', JsonStatus.TRUNCATED)
    assert refused(model.generate, 'x', json_schema='[').code == ErrorCode.BAD_SCHEMA


def test_history_is_kept_when_asked_for_until_a_reset(fake):
    model, _ = fake
    assert model.ask('a', keep_history=True).text == 'a||1'
    assert model.ask('b', keep_history=True).text == 'b||2'
    assert model.ask('alone').text == 'alone||1'
    model.reset()
    assert model.ask('c', keep_history=True).text == 'c||1'


def test_breaking_off_cancels(fake):
    model, inner = fake
    inner.reply, inner.token_seconds = (lambda turns: LONG), 0.005
    for chunk in model.generate('x', max_new_tokens=1000):
        break
    end = time.monotonic() + PATIENCE
    while not inner.kept:  # the sequence was released
        assert time.monotonic() < end
        time.sleep(0.001)
    assert inner.kept == [False] and sum(inner.batches) < 200


def test_a_stream_that_is_let_go_unread_is_canceled(fake):
    model, inner = fake
    inner.reply, inner.token_seconds = (lambda turns: LONG), 0.005
    stream = model.generate('x', max_new_tokens=1000)
    del stream
    gc.collect()
    assert model.ask('y', max_new_tokens=2).finish_reason == 'length'
    assert sum(inner.batches) < 200


def test_a_canceled_stream_gives_what_there_was_and_no_error(fake):
    model, inner = fake
    inner.reply, inner.token_seconds = (lambda turns: LONG), 0.005
    stream = model.generate('x', max_new_tokens=1000)
    first = next(stream)
    stream.cancel()
    rest = list(stream)
    assert stream.answer.finish_reason == 'canceled'
    assert first.delta + ''.join(c.delta for c in rest) == stream.answer.text
    stream.close()


def test_an_end_that_is_an_error_is_raised_after_the_text(fake):
    model, inner = fake
    inner.reply, inner.token_seconds = (lambda turns: LONG), 0.02
    stream, said = model.generate('x', max_new_tokens=1000, timeout=0.3), ''
    with pytest.raises(NanoVlmError) as caught:
        for chunk in stream:
            said += chunk.delta
    assert caught.value.code == ErrorCode.TIMEOUT and said == stream.answer.text != ''
    assert refused(model.ask, [broken_frame(), 'x']).code == ErrorCode.BAD_IMAGE
    assert refused(model.ask, 'x' * 5000).code == ErrorCode.CONTEXT_OVERFLOW


@pytest.mark.parametrize('prompt, said', [
    ('', 'empty'), ([gray(1)], 'empty'), (['photo.jpg', 'x'], 'photo.jpg cannot be read'),
    (['http://host/a.jpg', 'x'], 'is an address'), ([1, 'x'], 'got int'), (1, 'got int'),
    ([gray(1)] * 9 + ['x'], '9 images')])
def test_what_cannot_be_asked_is_raised_at_once(fake, prompt, said):
    assert said in refused(fake[0].generate, prompt).message


def test_threads_may_ask_at_once_and_get_their_own_answers(fake):
    model, _ = fake
    said = {}
    threads = [threading.Thread(target=lambda n=n: said.update({n: model.ask(str(n)).text}))
               for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert said == {n: f'{n}||1' for n in range(8)}


def test_a_model_that_is_closed_says_so_and_may_be_closed_again():
    inner = FakeModel()
    model = Model(lambda: inner)
    assert (model.name, model.context_length, model.max_images) == ('fake', 4096, 8)
    model.close()
    model.close()
    assert inner.closed
    assert refused(model.generate, 'x').code == ErrorCode.SHUTTING_DOWN


def test_a_model_that_is_forgotten_is_closed():
    inner = FakeModel()
    model = Model(lambda: inner)
    del model
    gc.collect()
    assert inner.closed


def test_what_loading_raises_is_raised():
    error = refused(nanovlm_ros.load, '/missing/model')
    assert error.code == ErrorCode.MODEL_ERROR and '/missing/model' in error.message


# -- with the model that ships -------------------------------------------------------------------

@pytest.fixture(scope='module')
def demo():
    with nanovlm_ros.load(context_length=1024, max_sequences=1) as model:
        yield model


def test_the_lines_of_the_documentation_work(demo, capsys):
    for chunk in demo.generate([PICTURES / 'sign.jpg', 'What does the sign say?']):
        print(chunk.delta, end='')
    assert capsys.readouterr().out == 'HOOVER DAM 8 1/4 MILES'


def test_follow_ups_lean_on_the_image_and_take_it_from_the_cache(demo):
    demo.reset()
    first = demo.ask([PICTURES / 'room.jpg', 'Is there a ball?'], keep_history=True)
    then = demo.ask('What color is it?', keep_history=True)
    assert (first.text, then.text) == ('Yes.', 'Purple.')
    assert then.cached_tokens > then.image_tokens == first.image_tokens > 0
    assert then.timings.vision == 0


@pytest.mark.parametrize('arguments, said', [
    (['one_image.py'], 'HOOVER DAM 8 1/4 MILES'),
    (['one_image.py', str(PICTURES / 'room.jpg'), 'Is the door open?'], 'Yes.'),
    (['several_images.py'], 'A person appeared'),
    (['json_answer.py'], '"HOOVER DAM 8 1/4 MILES"'),
    (['live_frames.py'], 'A person appeared')])
def test_every_example_runs_as_it_is(arguments, said, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'examples' / arguments[0]), *arguments[1:]], cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_every_example_is_tested():
    tested = {'one_image.py', 'several_images.py', 'json_answer.py', 'live_frames.py'}
    assert {path.name for path in (ROOT / 'examples').glob('*.py')} == tested


def test_an_answer_keeps_its_model_while_it_is_read():
    stream = Model(lambda: FakeModel(lambda turns: LONG, token_seconds=0.001)).generate('x')
    gc.collect()
    assert len(''.join(chunk.delta for chunk in stream)) > 100
