# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Promises of the process: it pays its replies and ends well, or with a code that tells why."""
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
from harness import Client, wait_until
from std_srvs.srv import Trigger

from nanovlm_ros.msg import Answer, Query
from nanovlm_ros.srv import Ask

PROCESS = str(Path(__file__).with_name('process.py'))
NUMBERS = count(1)
PATIENCE = 60.0  # s; only a hang takes so long


@pytest.fixture
def namespace():
    """A namespace of its own: a node that was killed stays in the graph until its lease ends."""
    return f'/process_{next(NUMBERS)}'


@pytest.fixture
def client(namespace):
    """A client of the node in the process."""
    made = Client(f'{namespace}/nanovlm')
    yield made
    made.close()


@pytest.fixture
def start(namespace):
    """Return a function that starts a process; all are ended, with their output printed."""
    processes = []

    def run(*command):
        processes.append(subprocess.Popen(
            [*command, '--ros-args', '-r', f'__ns:={namespace}'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        print(process.communicate()[0])


@pytest.fixture
def fake_node(start):
    """Return a function that starts main() with a fake model."""
    def run(*parameters, token_seconds=0.0, stuck=0):
        arguments = [part for parameter in parameters for part in ('-p', parameter)]
        return start(sys.executable, PROCESS, 'node', str(token_seconds), str(stuck),
                     '--ros-args', *arguments)
    return run


def answered(client, process):
    """Ask; return the answer, or None while the node is not ready."""
    assert process.poll() is None
    answer = client.ask('Is there a box?')
    return answer if answer.error_code != Answer.ERROR_NOT_READY else None


def end_of(process):
    """Return (exit code, output)."""
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_running_waiting_and_queued_requests_and_the_process(
        fake_node, client, number):
    process = fake_node('max_sequences:=1', token_seconds=0.5)
    goal = client.generate('running')
    queued = client.ask_later('queued')
    unseen = client.ask_later('unseen', image_source=Query.NEXT)
    wait_until(lambda: goal.feedback, 'feedback')
    assert not queued.done() and not unseen.done()
    process.send_signal(number)
    began = time.monotonic()
    answer = goal.end()[1]
    assert answer.error_code == Answer.ERROR_SHUTTING_DOWN and answer.error_message
    assert queued().answer.error_code == Answer.ERROR_SHUTTING_DOWN
    assert unseen().answer.error_code in (
        Answer.ERROR_SHUTTING_DOWN, Answer.ERROR_CANCELED, Answer.ERROR_NOT_READY)
    code, output = end_of(process)
    assert code == 0 and 'Traceback' not in output
    # Far from the 50 s that the answer would have taken, and from the 10 s of a stuck step.
    assert time.monotonic() - began < 9


def test_a_stuck_step_ends_the_process_with_70_after_the_replies(fake_node, client):
    process = fake_node('watchdog_timeout:=0.5', stuck=1)
    goal, other = client.generate('one'), client.ask_later('two')
    assert goal.end()[1].error_code == Answer.ERROR_MODEL_ERROR
    assert other().answer.error_code == Answer.ERROR_MODEL_ERROR
    code, output = end_of(process)
    assert code == 70 and 'stuck' in output and 'watchdog_timeout' in output


@pytest.mark.parametrize('parameter, part', [
    ('queue_size:=0', 'queue_size'), ('device:=abacus', 'abacus'),
    ('queue_size:=many', 'queue_size'), ('live.json_schemas:=["{"]', 'live.json_schemas')])
def test_a_wrong_parameter_ends_the_process_with_one_sentence(fake_node, parameter, part):
    code, output = end_of(fake_node(parameter))
    assert code == 2 and part in output and 'Traceback' not in output


def test_a_missing_model_folder_ends_an_autostarted_process_with_its_name(start):
    code, output = end_of(start(
        sys.executable, '-m', 'nanovlm_ros.ros.node', '--ros-args', '-p', 'model:=/no/such/model'))
    assert code == 1 and '/no/such/model' in output and 'Traceback' not in output


def test_a_missing_model_folder_fails_configure_and_leaves_the_node_unconfigured(start, client):
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    process = start(sys.executable, '-m', 'nanovlm_ros.ros.node', '--ros-args', '-p',
                    'model:=/no/such/model', '-p', 'autostart:=false')
    client.connect('change_state', ChangeState)
    client.connect('get_state', GetState)
    change = ChangeState.Request()
    change.transition.id = Transition.TRANSITION_CONFIGURE
    assert not client.start('change_state', change)().success
    state = client.start('get_state', GetState.Request())().current_state
    assert state.id == State.PRIMARY_STATE_UNCONFIGURED
    process.send_signal(signal.SIGINT)
    code, output = end_of(process)
    assert code == 0 and '/no/such/model' in output


@pytest.mark.skipif(not shutil.which('nanovlm_node'), reason='the package is not installed')
def test_the_installed_node_answers_with_the_model_that_ships_and_ends_on_sigint(start, client):
    process = start('nanovlm_node')
    ready = client.call(lambda: client.node.create_client(Ask, f'{client.server}/ask'))
    assert ready.wait_for_service(PATIENCE)
    # With an empty cache the model is compiled first; until then the answer is NOT_READY.
    answer = wait_until(lambda: answered(client, process), 'the first answer', PATIENCE)
    assert (answer.error_code, answer.model != '', answer.text != '') == (0, True, True)
    assert client.start('reset', Trigger.Request())().success
    waiting = client.ask_later(image_source=Query.NEXT)
    process.send_signal(signal.SIGINT)
    code, output = end_of(process)
    assert code == 0 and 'Traceback' not in output
    # A request that was not even taken from the wire before the end gets no reply.
    assert not waiting.done() or waiting().answer.error_code != 0
