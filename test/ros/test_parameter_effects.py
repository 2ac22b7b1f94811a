# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of the parameters' effects: each one that may change applies to the next request."""
from fakes import FakeModel
from harness import image, long_reply, wait_until

from nanovlm_ros.msg import Answer, Query


def test_cleanup_frees_the_fixed_parameters(make_robot):
    robot = make_robot()
    assert not robot.set(queue_size=3)[0].successful
    robot.call(robot.node.trigger_deactivate)
    robot.call(robot.node.trigger_cleanup)
    assert robot.set(queue_size=3)[0].successful


def test_the_loader_gets_the_parameters(make_robot):
    given = {'device': 'cpu', 'quantization': 'q0f32', 'activations': 'float32',
             'context_length': 77, 'max_sequences': 3, 'revision': 'main', 'trust_pickle': True,
             'mlc_weights': '/an/mlc/folder', 'chat_template': 'llama_3', 'vision_scaling': 'pad',
             'vision_weights': 'float', 'kv_cache_tokens': 99}
    robot = make_robot(model='/a/folder', **given)
    (model,), options = robot.load_arguments
    options.pop('progress')
    assert model == '/a/folder' and options == given


def test_a_new_image_limit_applies_to_the_next_question(make_robot, client):
    robot = make_robot()
    client.show(robot, image(10))
    assert client.ask(image_source=Query.LATEST).error_code == 0
    assert robot.set(max_image_pixels=10)[0].successful
    client.show(robot, image(10))
    answer = client.ask(image_source=Query.LATEST)
    assert answer.error_code == Answer.ERROR_BAD_IMAGE
    assert 'max_image_pixels' in answer.error_message


def test_a_new_system_prompt_applies_unless_the_query_brings_its_own(make_robot, client):
    robot = make_robot()
    plain = client.ask().prompt_tokens
    assert robot.set(system_prompt='x' * 10)[0].successful
    assert client.ask().prompt_tokens == plain + 10
    assert client.ask(system_prompt='yz').prompt_tokens == plain + 2


def test_new_timeouts_apply_to_the_next_request(make_robot, client):
    robot = make_robot(FakeModel(long_reply, token_seconds=0.01))
    assert all(r.successful for r in robot.set(ask_timeout=0.3, generate_timeout=0.4))
    long = {'config': {'max_new_tokens': 4000}}
    assert client.ask(**long).error_code == Answer.ERROR_TIMEOUT
    assert client.generate(**long).end()[1].error_code == Answer.ERROR_TIMEOUT


def test_a_new_stream_period_gathers_the_tokens_of_a_chunk(make_robot, client):
    robot = make_robot(FakeModel(lambda turns: ' ' + 'a' * 40), stream__period=0.0)
    client.heard(robot)

    def chunks(name):
        client.ask(request_id=name)
        wait_until(lambda: any(c.done for c in client.stream if c.request_id == name))
        return [c for c in client.stream if c.request_id == name]

    assert len(chunks('each')) >= 40
    assert robot.set(stream__period=60.0)[0].successful
    gathered = chunks('gathered')
    assert len(gathered) <= 3 and ''.join(c.delta for c in gathered) == 'a' * 40


def test_the_stop_strings_of_the_parameter_hold_where_the_query_has_none(make_robot, client):
    robot = make_robot(FakeModel(lambda turns: ' one. two. three.'))
    assert robot.set(generation__stop=['two'])[0].successful
    assert client.ask().text == 'one. '
    assert client.ask(config={'stop': ['one']}).text == ''
