# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""~/event/<name>: latched, by the stamps of the images, and only what answers have shown."""
import json

import pytest
from fakes import FakeModel
from harness import SECOND, image, wait_until
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from nanovlm_ros.msg import Answer, Event
from nanovlm_ros.srv import SetPrompts
from nanovlm_ros.types import ErrorCode, NanoVlmError

LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PERSON, NOBODY, BROKEN = 200, 10, 90  # gray values, and what the model says of them
RULE = {'name': 'person', 'text': '^yes'}


def sees(turns):
    """The fake's eyes."""
    gray = round(float(turns[-1].frames[-1].rgb.mean()))
    if gray == BROKEN:
        raise NanoVlmError(ErrorCode.OUT_OF_MEMORY, 'There is no room.')
    return ' Yes, there is.' if gray == PERSON else ' No.'


def rules(*made):
    return [json.dumps(rule) for rule in made]


@pytest.fixture
def watching(make_robot, client):
    """Return a function that starts a robot which asks one live prompt about each image."""
    def make(*made, model=None, **parameters):
        robot = make_robot(model or FakeModel(sees), **{
            'live__enabled': True, 'live__rate': 50.0, 'live__prompts': ['Is a person there?'],
            'max_image_age': 0.0, 'event__rules': rules(*(made or [RULE])), **parameters})
        client.heard(robot)
        return robot
    return make


def listen(client, name='person'):
    """Subscribe late or early; return what is heard."""
    heard = []
    client.call(lambda: client.node.create_subscription(
        Event, f'/nanovlm/event/{name}', heard.append, LATCHED))
    wait_until(lambda: heard, 'the latched state')
    return heard


def show(robot, client, gray, stamp, prompts=1, **fields):
    """Show an image and wait until every live prompt about it is answered; return it."""
    sent = image(gray, stamp=round(stamp * SECOND), **fields)
    client.show(robot, sent)
    wait_until(lambda: len({answer.prompt for answer in client.answers
                            if answer.header == sent.header}) == prompts,
               f'the live answers about {stamp}')
    return sent


def state(message):
    """(active, begin, last, end) in s."""
    return (message.active, *(time.sec + time.nanosec / SECOND for time in (
        message.begin, message.last, message.end)))


def told(heard, expected):
    """Wait until these states were heard, one after the other, and no others.

    An image that best effort lost is sent again, and may be answered twice.
    """
    def different():
        found = [state(message) for message in heard]
        return [one for i, one in enumerate(found) if i == 0 or one != found[i - 1]]
    try:
        wait_until(lambda: different() == expected)
    except AssertionError:
        raise AssertionError(f'{different()} is not {expected}') from None


NEVER = (False, 0, 0, 0)


def test_begin_last_and_end_are_the_stamps_of_images(watching, client):
    robot = watching()
    heard = listen(client)
    for gray, stamp in ((NOBODY, 100), (PERSON, 101.5), (PERSON, 102.25), (NOBODY, 103.125),
                        (NOBODY, 104)):
        show(robot, client, gray, stamp)
    told(heard, [NEVER, (True, 101.5, 101.5, 0), (True, 101.5, 102.25, 0),
                 (False, 101.5, 102.25, 103.125)])


def test_an_event_tells_which_answer_about_which_image_it_comes_from(watching, client):
    robot = watching(cameras=['front'])
    heard = listen(client)
    sent = image(PERSON, stamp=100 * SECOND, frame_id='arm')
    client.show(robot, sent, '/front/image')
    found = wait_until(lambda: [m for m in heard if m.active], 'the event')[0]
    answer = wait_until(lambda: client.answers, 'the answer')[0]
    assert found.header == answer.header == sent.header
    assert (found.name, found.camera, found.prompt, found.text, found.request_id) == (
        'person', 'front', 'Is a person there?', 'Yes, there is.', answer.request_id)


def test_who_comes_late_gets_the_state_as_it_is(watching, client):
    robot = watching()
    assert [state(m) for m in listen(client)] == [NEVER]
    show(robot, client, PERSON, 100)
    show(robot, client, PERSON, 101)
    late = listen(client)
    told(late, [(True, 100, 101, 0)])
    show(robot, client, NOBODY, 102)
    told(late, [(True, 100, 101, 0), (False, 100, 101, 102)])
    told(listen(client), [(False, 100, 101, 102)])


def test_answers_that_are_errors_change_nothing(watching, client):
    robot = watching()
    heard = listen(client)
    show(robot, client, BROKEN, 99)
    show(robot, client, PERSON, 100)
    show(robot, client, BROKEN, 101)
    show(robot, client, PERSON, 102)
    show(robot, client, NOBODY, 103)
    told(heard, [NEVER, (True, 100, 100, 0), (True, 100, 102, 0), (False, 100, 102, 103)])
    assert [a.error_code for a in client.answers if a.header.stamp.sec in (99, 101)][:2] == [
        int(ErrorCode.OUT_OF_MEMORY)] * 2


def test_only_live_answers_to_its_prompt_make_an_event(watching, client):
    def reply(turns):
        last = turns[-1]
        return ' yes' if last.user == 'Now?' or not last.frames else sees(turns)

    robot = watching({**RULE, 'prompt': 'Is it?'}, model=FakeModel(reply),
                     live__prompts=['Is it?', 'Now?'])
    heard = listen(client)
    show(robot, client, NOBODY, 100, prompts=2)
    assert client.ask('Is it?').text == client.ask('Now?').text == 'yes'
    show(robot, client, NOBODY, 101, prompts=2)
    show(robot, client, PERSON, 102, prompts=2)
    told(heard, [NEVER, (True, 102, 102, 0)])


def test_each_rule_has_its_topic_and_its_hold(watching, client):
    robot = watching({**RULE, 'hold': 1.5}, {'name': 'nobody', 'text': '^no'})
    person, nobody = listen(client), listen(client, 'nobody')
    for gray, stamp in ((PERSON, 100), (NOBODY, 101), (PERSON, 102), (NOBODY, 103), (NOBODY, 104)):
        show(robot, client, gray, stamp)
    told(person, [NEVER, (True, 100, 100, 0), (True, 100, 102, 0), (False, 100, 102, 103)])
    told(nobody, [NEVER, (True, 101, 101, 0), (False, 101, 101, 102), (True, 103, 103, 0),
                  (True, 103, 104, 0)])


def test_a_field_is_read_from_answers_in_json_and_one_cut_short_changes_nothing(watching, client):
    schema = json.dumps({
        'type': 'object', 'required': ['why', 'door'], 'additionalProperties': False,
        'properties': {'why': {'type': 'string'}, 'door': {'enum': ['open', 'closed']}}})

    def reply(turns):
        gray = round(float(turns[-1].frames[-1].rgb.mean()))
        said = {NOBODY: '", "door": "closed"}', PERSON: '", "door": "open"}'}
        return '{"why": "' + said.get(gray, 'a' * 99)  # which runs into the limit of tokens

    robot = watching({'name': 'door', 'field': 'door', 'value': 'open'}, model=FakeModel(reply),
                     live__json_schemas=[schema], generation__max_new_tokens=40)
    heard = listen(client, 'door')
    for gray, stamp in ((PERSON, 100), (BROKEN, 101), (PERSON, 102), (NOBODY, 103)):
        show(robot, client, gray, stamp)
    assert Answer.TRUNCATED in [a.json_status for a in client.answers]
    told(heard, [NEVER, (True, 100, 100, 0), (True, 100, 102, 0), (False, 100, 102, 103)])


def test_a_clock_that_jumps_back_makes_the_event_undone(watching, client):
    robot = watching(use_sim_time=True)
    heard = listen(client)
    clock = client.call(lambda: client.node.create_publisher(Clock, '/clock', 1))

    def tick(second):
        def came():
            client.call(lambda: clock.publish(Clock(
                clock=image(stamp=second * SECOND).header.stamp)))
            return robot.node.get_clock().now().nanoseconds == second * SECOND
        wait_until(came, 'the simulated time')

    tick(1000)
    show_until(robot, client, PERSON, 1000, tick)
    told(heard, [NEVER, (True, 1000, 1000, 0)])
    tick(10)
    told(heard, [NEVER, (True, 1000, 1000, 0), NEVER])
    told(listen(client), [NEVER])
    show_until(robot, client, PERSON, 10, tick)
    told(heard[-1:], [(True, 10, 10, 0)])


def show_until(robot, client, gray, second, tick):
    """Show an image while the simulated clock, which drives the live loop, ticks on."""
    sent = image(gray, stamp=second * SECOND)
    client.show(robot, sent)
    at = iter(range(second, second + 1000))

    def answered():
        tick(next(at))
        return any(a.header == sent.header for a in client.answers)
    wait_until(answered, 'the live answer')


def test_stamps_that_jump_back_make_the_event_undone(watching, client):
    robot = watching({**RULE, 'hold': 5})  # a bag that begins again beside a clock that does not
    heard = listen(client)
    show(robot, client, PERSON, 500)
    show(robot, client, NOBODY, 100)
    show(robot, client, PERSON, 101)
    told(heard, [NEVER, (True, 500, 500, 0), NEVER, (True, 101, 101, 0)])


def test_two_rules_of_one_name_are_refused_with_a_sentence(make_robot):
    robot = make_robot(autostart=False)
    result, = robot.set(event__rules=rules(RULE, {**RULE, 'text': 'no'}))
    assert not result.successful and "2 rules of the name 'person'" in result.reason


def test_the_topics_go_with_the_configuration(watching, client):
    robot = watching()
    listen(client)
    for name in ('deactivate', 'cleanup'):
        robot.call(getattr(robot.node, f'trigger_{name}'))
    wait_until(lambda: not client.node.count_publishers('/nanovlm/event/person'), 'the end')


def disable(robot, client):
    assert client.start('enable', SetBool.Request(data=False))().success


def other_prompts(robot, client):
    assert client.start('set_prompts', SetPrompts.Request(prompts=['Who?']))().success


def reset(robot, client):
    assert client.start('reset', Trigger.Request())().success


def deactivate(robot, client):
    robot.call(robot.node.trigger_deactivate)


@pytest.mark.parametrize('how', [disable, other_prompts, reset, deactivate])
def test_who_comes_late_hears_of_no_event_that_nobody_looks_for_any_more(watching, client, how):
    robot = watching()
    show(robot, client, PERSON, 100)
    told(listen(client), [(True, 100, 100, 0)])
    how(robot, client)
    told(listen(client), [NEVER])


def test_an_answer_that_comes_after_a_reset_changes_nothing(watching, client, gate):
    hold = gate('decode')
    robot = watching({**RULE, 'prompt': 'Is a person there?'},
                     model=FakeModel(sees, before=hold))
    heard = listen(client)
    sent = image(PERSON, stamp=100 * SECOND)
    client.show(robot, sent)
    assert hold.reached.wait(20)
    other_prompts(robot, client)
    hold.open.set()
    wait_until(lambda: any(a.header == sent.header for a in client.answers), 'the answer')
    told(heard, [NEVER])


def test_images_without_a_stamp_have_events_at_their_arrival(watching, client):
    robot = watching()
    heard = listen(client)
    before = robot.node.get_clock().now().nanoseconds / SECOND
    for gray in (PERSON, NOBODY):
        asked = len(client.answers)
        client.show(robot, image(gray, stamp=0))
        wait_until(lambda n=asked: len(client.answers) > n, 'the live answer')
    wait_until(lambda: not heard[-1].active and heard[-1].end.sec, 'the end')
    _, begin, last, end = state(heard[-1])
    assert before < begin <= last < end < before + 60


def test_what_runs_is_canceled_with_the_node_and_two_ticks_never_overlap(watching, client, gate):
    hold = gate('decode')
    robot = watching(model=FakeModel(sees, before=hold))
    client.show(robot, image(PERSON, stamp=100 * SECOND))
    assert hold.reached.wait(20)
    robot.call(robot.node.trigger_deactivate)
    robot.call(robot.node.trigger_activate)  # while the step of the first tick still runs
    sent = image(NOBODY, stamp=101 * SECOND)
    client.show(robot, sent)
    hold.open.set()
    wait_until(lambda: any(a.header == sent.header for a in client.answers), 'the second answer')
    codes = [a.error_code for a in client.answers]
    assert codes[0] == Answer.ERROR_CANCELED and not any(codes[1:])
