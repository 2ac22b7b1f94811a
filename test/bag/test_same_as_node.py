# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One code path: the node over DDS and the evaluator give the same answers on the same bag.

The real demo model, greedy. And the node's live loop, fed in real time, misses what a replay
of the same recording says that it will.
"""
import array
import json
import sys
import time
from pathlib import Path

import pytest
from recordings import FakeSpec, image, read_lines, write_bag, write_questions

from nanovlm_ros.bag.engine import EngineSpec
from nanovlm_ros.bag.plan import Sampling
from nanovlm_ros.bag.reader import Bag
from nanovlm_ros.bag.run import REPLAY, Options

rclpy = pytest.importorskip('rclpy', reason='the node needs ROS')
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'test' / 'ros'))  # harness

from harness import Client, Robot, wait_until  # noqa: E402

from nanovlm_ros import msg  # noqa: E402

DEMO = ROOT / 'demo' / 'bag'
TOPIC = '/camera/image/compressed'
END_S, STEP = 2.2, 5    # about each 5th image
WINDOW = {'frames': 4, 'period': 0.25}
SCHEMA = {'type': 'object', 'properties': {
    'door': {'enum': ['open', 'closed', None]}, 'boxes': {'type': 'integer'}},
    'required': ['door', 'boxes'], 'additionalProperties': False}
QUESTIONS = ({'prompt': 'Describe the scene.'}, {'prompt': 'Is there a person?'},
             {'prompt': 'Report.', 'json_schema': SCHEMA},
             {'prompt': 'What changed?', 'window': WINDOW})


@pytest.fixture(scope='module', autouse=True)
def ros():
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    yield
    rclpy.shutdown()


def recorded():
    """The bag's images as messages of rclpy."""
    from sensor_msgs.msg import CompressedImage

    with Bag(DEMO) as bag:
        for record in bag.messages([TOPIC], stop_ns=bag.start_ns + round(END_S * 1e9)):
            old = bag.deserialize(record)
            new = CompressedImage(format=old.format, data=array.array('B', old.data.tobytes()))
            new.header.frame_id = old.header.frame_id
            new.header.stamp.sec = old.header.stamp.sec
            new.header.stamp.nanosec = old.header.stamp.nanosec
            yield new


def ask_node(**parameters):
    """Answers of the node, one image after another, in the order of the rows."""
    from nanovlm_ros.engine.loader import load

    robot = Robot(lambda: load(max_sequences=4), compressed=True, max_image_age=0.0,
                  window__enabled=True, window__frames=WINDOW['frames'],
                  window__period=WINDOW['period'], **parameters)
    client, answers = Client(), []
    try:
        for number, message in enumerate(recorded()):
            client.show(robot, message, '/image/compressed')
            if number % STEP:
                continue
            for question in QUESTIONS:
                source = msg.Query.WINDOW if 'window' in question else msg.Query.LATEST
                schema = question.get('json_schema')
                answer = client.ask(question['prompt'], image_source=source,
                                    json_schema=json.dumps(schema) if schema else '')
                answers.append((answer.prompt, answer.text, answer.json, len(answer.images),
                                answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec))
    finally:
        client.close()
        robot.close()
    return answers


@pytest.mark.parametrize('mode', ['', 'rolling', 'exact'])
def test_the_node_and_the_evaluator_give_the_same_answers(tmp_path, evaluate, mode):
    questions = [{**q, 'window': {**q['window'], **({'mode': mode} if mode else {})}}
                 if 'window' in q else q for q in QUESTIONS]
    options = Options([DEMO], write_questions(tmp_path, *questions), tmp_path / 'out',
                      EngineSpec(), Sampling(end_s=END_S, every=STEP))
    assert evaluate(options)[0] == 0
    rows = [(r['prompt'], r['text'], r['json'], len(r['images']), r['stamp_ns'])
            for r in read_lines(tmp_path / 'out' / 'results.jsonl')]
    assert rows == ask_node(**({'window__mode': mode} if mode else {}))
    assert len({text for _, text, _, _, _ in rows}) > 3
    counts = [count for prompt, _, _, count, _ in rows if prompt == QUESTIONS[-1]['prompt']]
    assert counts == [1, 2, 4, 4, 4 if mode == 'exact' else 3]


def test_a_replay_misses_what_the_live_loop_misses(tmp_path, evaluate, options):
    seconds, period = 6.0, 0.1
    spec = FakeSpec(token_seconds=0.02)
    robot = Robot(spec.load, live__enabled=True, live__rate=1 / period,
                  live__prompts=['hello'], max_image_age=0.0)
    client = Client()
    try:
        client.heard(robot)
        client.publish(ros_image(0))  # once the node is there
        begin, heard = time.time(), [(0.0, 0)]
        while heard[-1][0] < seconds:  # a camera of 20 Hz, recorded as it is sent
            at = heard[-1][0] + 0.05
            time.sleep(max(0.0, begin + at - time.time()))
            heard.append((at, len(heard) % 200))
            client.publish(ros_image(heard[-1][1]))
        last = heard[-1][1]
        wait_until(lambda: any(f'|{last}|' in a.text or f'|{last - 1}|' in a.text
                               for a in client.answers), 'the last answer')
        missed, answered = robot.node.runtime.live_missed, len(client.answers)
    finally:
        client.close()
        robot.close()
    bag = write_bag(tmp_path / 'day', {'/image': [
        (at, image(value, round((1000 + at) * 1e9))) for at, value in heard]})
    evaluate(options, bags=[bag], engine=spec, mode=REPLAY, questions=write_questions(
        tmp_path, {'prompt': 'hello', 'period': period}), max_age_s=0.0)
    drops = read_lines(options.out / 'dropped.jsonl')
    rows = read_lines(options.out / 'results.jsonl')
    assert len(drops) == pytest.approx(missed, rel=0.05, abs=2)
    assert len(rows) == pytest.approx(answered, rel=0.05, abs=2)


def ros_image(value):
    from harness import image as make

    return make(value, width=8, height=8)
