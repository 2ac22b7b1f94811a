# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of ~/ask, ~/generate, ~/stream, ~/answers, ~/set_prompts, ~/reset and ~/enable."""
import pytest
from action_msgs.msg import GoalStatus
from fakes import FakeModel
from harness import compressed, image, long_reply, wait_until, whole
from std_srvs.srv import SetBool, Trigger

from nanovlm_ros.msg import Answer, Query
from nanovlm_ros.srv import SetPrompts

SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], ' \
         '"additionalProperties": false}'


def chunks_of(client, request_id):
    wait_until(lambda: any(c.done for c in client.stream if c.request_id == request_id),
               'the end of the stream')
    return [c for c in client.stream if c.request_id == request_id]


def answer_of(client, request_id):
    found = wait_until(lambda: [a for a in client.answers if a.request_id == request_id],
                       'the answer on the topic')
    assert len(found) == 1
    return found[0]


def test_ask_answers_and_every_field_is_filled_in(make_robot, client):
    make_robot()
    answer = client.ask('How many?', request_id='a1')
    assert (answer.request_id, answer.prompt, answer.text) == ('a1', 'How many?', 'How many?||1')
    assert (answer.finish_reason, answer.error_code, answer.model) == ('stop', 0, 'fake')
    assert answer.completion_tokens > 0 and answer.prompt_tokens > 0
    assert answer.timings.total >= answer.timings.first_token > 0


def test_an_answer_and_its_stream_go_out_on_the_topics_too(make_robot, client):
    client.heard(make_robot())
    answer = client.ask('Hi', request_id='a2')
    assert answer_of(client, 'a2') == answer
    assert whole(chunks_of(client, 'a2')) == answer.text


def test_requests_without_an_id_get_different_ones(make_robot, client):
    make_robot()
    ids = {client.ask().request_id for _ in range(3)}
    assert len(ids) == 3 and '' not in ids


def test_feedback_of_generate_has_no_gap_and_the_stream_is_whole(make_robot, client):
    client.heard(make_robot(FakeModel(lambda turns: ' Grüße, 世界 🤖!', token_seconds=0.005)))
    goal = client.generate(request_id='g1')
    status, answer = goal.end()
    assert (status, answer.text) == (GoalStatus.STATUS_SUCCEEDED, 'Grüße, 世界 🤖!')
    assert whole(chunks_of(client, 'g1')) == answer.text
    # A client drops the feedback that it has not handled when the result comes.
    assert [c.sequence for c in goal.feedback] == list(range(len(goal.feedback)))
    assert goal.feedback and answer.text.startswith(''.join(c.delta for c in goal.feedback))


def test_a_running_goal_can_be_canceled_and_keeps_its_partial_text(make_robot, client):
    make_robot(FakeModel(long_reply, token_seconds=0.01))
    goal = client.generate(config={'max_new_tokens': 4000})
    wait_until(lambda: len(goal.feedback) > 3, 'feedback')
    goal.cancel()
    status, answer = goal.end()
    assert status == GoalStatus.STATUS_CANCELED
    assert (answer.finish_reason, answer.error_code) == ('canceled', Answer.ERROR_CANCELED)
    assert answer.text and long_reply(None).strip().startswith(answer.text.strip())


def test_a_queued_goal_can_be_canceled(make_robot, client, gate):
    hold = gate('prefill')
    make_robot(FakeModel(before=hold), max_sequences=1)
    running = client.generate()
    assert hold.reached.wait(20)
    queued = client.generate('second')
    queued.cancel()
    hold.open.set()
    status, answer = queued.end()
    assert (status, answer.finish_reason) == (GoalStatus.STATUS_CANCELED, 'canceled')
    assert answer.completion_tokens == 0
    assert running.end()[0] == GoalStatus.STATUS_SUCCEEDED


def test_canceling_a_finished_goal_changes_nothing(make_robot, client):
    make_robot()
    goal = client.generate()
    goal.end()
    goal.cancel()
    assert goal.end()[0] == GoalStatus.STATUS_SUCCEEDED
    assert client.ask().error_code == 0


def test_a_goal_that_waits_for_its_image_can_be_canceled(make_robot, client):
    make_robot()
    goal = client.generate(image_source=Query.NEXT)
    goal.cancel()
    status, answer = goal.end()
    assert (status, answer.error_code) == (GoalStatus.STATUS_CANCELED, Answer.ERROR_CANCELED)


def test_a_goal_that_fails_is_aborted_with_its_reason(make_robot, client):
    make_robot()
    status, answer = client.generate('').end()
    assert (status, answer.error_code) == (GoalStatus.STATUS_ABORTED, Answer.ERROR_INVALID_REQUEST)


def test_requests_run_beside_each_other(make_robot, client, gate):
    hold = gate('decode')
    make_robot(FakeModel(before=hold))
    first = client.ask_later('one')
    assert hold.reached.wait(20)
    second = client.ask_later('two')
    hold.open.set()
    assert (first().answer.text, second().answer.text) == ('one||1', 'two||1')


def test_a_client_that_goes_away_mid_stream_harms_nobody(make_robot, client):
    from harness import Client

    robot = make_robot(FakeModel(long_reply, token_seconds=0.005))
    visitor = Client()
    goal = visitor.generate(config={'max_new_tokens': 400})
    wait_until(lambda: goal.feedback, 'feedback')
    visitor.close()
    assert client.ask(config={'max_new_tokens': 5}).finish_reason == 'length'
    wait_until(lambda: robot.node.runtime.executor.stats().running == 0, 'the end')
    assert client.ask(config={'max_new_tokens': 5}).finish_reason == 'length'


def test_json_comes_back_valid(make_robot, client):
    make_robot(FakeModel(lambda turns: '{"n": 3}'))
    answer = client.ask(json_schema=SCHEMA)
    assert (answer.json, answer.json_status) == ('{"n": 3}', Answer.VALID)


def test_history_is_kept_until_reset(make_robot, client):
    make_robot()
    asked = [client.ask('q', keep_history=True).text for _ in range(2)]
    reply = client.start('reset', Trigger.Request())()
    asked.append(client.ask('q', keep_history=True).text)
    assert reply.success and asked == ['q||1', 'q||2', 'q||1']


def test_defaults_of_sampling_come_from_the_parameters(make_robot, client):
    robot = make_robot(FakeModel(long_reply), generation__max_new_tokens=7)
    assert client.ask().completion_tokens == 7
    assert robot.set(generation__max_new_tokens=9)[0].successful
    assert client.ask().completion_tokens == 9
    assert client.ask(config={'max_new_tokens': 3}).completion_tokens == 3


@pytest.mark.parametrize('source, images', [
    (Query.INLINE, {'images': [image(50, frame_id='arm')]}),
    (Query.INLINE, {'compressed_images': [compressed(50, frame_id='arm')]}),
])
def test_stamp_and_frame_of_an_inline_image_reach_answer_and_stream(
        make_robot, client, source, images):
    client.heard(make_robot())
    answer = client.ask('see', request_id='s', image_source=source, **images)
    given = next(iter(images.values()))[0].header
    assert answer.text == 'see|50|1'
    assert answer.header == given and [i.header for i in answer.images] == [given]
    assert all(chunk.header == given for chunk in chunks_of(client, 's'))


def test_several_images_keep_their_order_and_the_newest_is_the_source(make_robot, client):
    make_robot()
    images = [image(10, age=1), image(20, age=0), image(30, age=2)]
    answer = client.ask('see', image_source=Query.INLINE, images=images)
    assert answer.text == 'see|10,20,30|1'
    assert [i.header for i in answer.images] == [i.header for i in images]
    assert answer.header == images[1].header


def test_prompts_and_schema_change_together_or_not_at_all(make_robot, client):
    robot = make_robot()
    good = client.start('set_prompts', SetPrompts.Request(
        prompts=['a', 'b'], json_schemas=[SCHEMA]))()
    assert good.success, good.message
    for prompts, schemas, code in (
            (['c'], ['{"$ref": "http://x.example"}'], Answer.ERROR_BAD_SCHEMA),
            (['c', ' '], [], Answer.ERROR_INVALID_REQUEST),
            (['c', 'd', 'e'], [SCHEMA, ''], Answer.ERROR_INVALID_REQUEST)):
        bad = client.start('set_prompts', SetPrompts.Request(
            prompts=prompts, json_schemas=schemas))()
        assert (bad.success, bad.error_code) == (False, code) and bad.message
    assert robot.node.parameters['live.prompts'] == ['a', 'b']
    assert robot.node.parameters['live.json_schemas'] == [SCHEMA]


def test_no_prompts_at_all_are_accepted(make_robot, client):
    robot = make_robot(live__prompts=['a'])
    assert client.start('set_prompts', SetPrompts.Request())().success
    assert robot.node.parameters['live.prompts'] == []


def test_enable_switches_the_live_loop(make_robot, client):
    robot = make_robot()
    for on in (True, False):
        assert client.start('enable', SetBool.Request(data=on))().success
        assert robot.node.parameters['live.enabled'] is on
