# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What ships: the model answers held-out questions, and the demo bag fits its truth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.evaluate import TorchAnswerer, held_out, judge_engine, judge_torch
from training.export import load_checkpoint

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'demo'


def test_the_model_is_no_larger_than_24_megabytes(demo_model):
    assert sum(f.stat().st_size for f in demo_model.rglob('*') if f.is_file()) <= 24_000_000


def test_the_model_answers_held_out_questions_with_float_and_4_bit_weights(demo_model):
    scores = judge_torch(demo_model, images=9, sequences=1, device='cpu')
    for name, score in scores.items():
        percent = score.as_dict()['percent']
        assert score.asked['all'] > 150
        assert percent['all'] >= 95 and percent['yes_no'] >= 97, name


def test_an_engine_is_judged_by_the_same_questions():
    asked = []

    def engine(images, question, schema):
        asked.append((len(images), question, schema))
        return 'Yes.'
    score = judge_engine(engine, images=2, sequences=0)
    assert 0 < score.good['all'] < score.asked['all'] == len(asked)
    assert any(s and s['required'] == list(s['properties']) for _, _, s in asked)


def test_held_out_pictures_are_camera_pictures():
    pictures, chats, _ = next(held_out(1, 0))
    assert pictures[0].dtype == np.uint8 and pictures[0].shape[0] in (360, 480) and chats


@pytest.fixture(scope='module')
def truth():
    return json.loads((DEMO / 'truth.json').read_text())


@pytest.fixture(scope='module')
def bag():
    from rosbags.highlevel import AnyReader
    with AnyReader([DEMO / 'bag']) as reader:
        return [(stamp, reader.deserialize(raw, c.msgtype)) for c, stamp, raw in reader.messages()]


def test_the_truth_asks_every_kind_of_question_in_calm_segments(truth):
    questions = [q for s in truth['segments'] for q in s['questions']]
    assert len(questions) >= 14
    assert {q['kind'] for q in questions} == {'yes_no', 'count', 'read', 'free', 'json', 'window'}
    ends = [0.0]
    for s in truth['segments']:
        assert s['t1'] - s['t0'] >= 2.5 and s['t0'] >= ends[-1]
        ends.append(s['t1'])
    for q in questions:
        assert ('json_schema' in q) == (q['kind'] == 'json')
        if q['kind'] == 'json':
            assert list(q['expected']) == q['json_schema']['required']


def test_the_bag_is_small_steady_and_longer_than_its_truth(bag, truth):
    assert sum(f.stat().st_size for f in (DEMO / 'bag').iterdir()) <= 5_000_000
    stamps = np.array([s for s, _ in bag])
    assert (np.diff(stamps) == 100_000_000).all()
    assert (stamps[-1] - stamps[0]) / 1e9 >= max(20, truth['segments'][-1]['t1'] - .11)
    for stamp, message in bag[::40]:
        header = message.header
        assert header.stamp.sec * 10**9 + header.stamp.nanosec == stamp
        assert header.frame_id == truth['frame_id'] and message.format == 'jpeg'
        assert cv2.imdecode(message.data, cv2.IMREAD_COLOR).shape == (480, 640, 3)


def test_the_4_bit_model_answers_the_questions_of_the_bag(bag, truth, demo_model, tokenizer):
    answerer = TorchAnswerer(load_checkpoint(demo_model), tokenizer)
    answerer.model.quantize(True)
    start, good, asked = bag[0][0] / 1e9, 0, 0

    def picture(at):
        message = min(bag, key=lambda m: abs(m[0] / 1e9 - start - at))[1]
        return cv2.imdecode(message.data, cv2.IMREAD_COLOR)[..., ::-1]

    for s in truth['segments']:
        middle = (s['t0'] + s['t1']) / 2
        for q in s['questions']:
            times = [middle]
            if q['kind'] == 'window':
                times = np.linspace(q['first_before'] - .8, q['last_after'] + .8, 4)
            said = answerer([picture(at) for at in times], q['prompt'], q.get('json_schema'))
            asked += 1
            good += (json.loads(said) if q['kind'] == 'json' else said) == q['expected']
    assert good >= .95 * asked
