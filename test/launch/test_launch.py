# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every launch argument reaches a real node; what is left out is the parameter file's."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('launch_ros', reason='launch and launch_ros come with a ROS installation')

import rclpy  # noqa: E402
from rcl_interfaces.srv import GetParameters  # noqa: E402
from rclpy.parameter import parameter_value_to_python  # noqa: E402

LAUNCH_FILE = Path(__file__).parents[2] / 'launch' / 'nanovlm.launch.py'
RUN = '''
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    sys.argv[1], launch_arguments=[a.split(':=', 1) for a in sys.argv[2:]])]))
sys.exit(service.run())
'''
PATIENCE = 30  # s


@pytest.fixture
def client():
    """Return a node to ask with."""
    rclpy.init()
    yield rclpy.create_node('asker')
    rclpy.shutdown()


@pytest.fixture
def launched():
    """Return a function that launches with arguments; ends what it started."""
    processes = []

    def launch(*arguments, **environment):
        processes.append(subprocess.Popen(
            [sys.executable, '-c', RUN, str(LAUNCH_FILE), *arguments],
            env={**os.environ, **environment}, start_new_session=True))
        return processes[-1]

    yield launch
    for process in processes:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def parameters(client, node, names):
    """Return values of the parameters of a node that may still be starting."""
    service = client.create_client(GetParameters, f'{node}/get_parameters')
    assert service.wait_for_service(PATIENCE), f'{node} did not start'
    future = service.call_async(GetParameters.Request(names=names))
    rclpy.spin_until_future_complete(client, future, timeout_sec=PATIENCE)
    return dict(zip(names, map(parameter_value_to_python, future.result().values)))


def test_every_argument_reaches_the_node(client, launched):
    launched('namespace:=robot', 'name:=eyes', 'model:=/a/model', 'device:=cpu',
             'quantization:=q0f32', 'context_length:=512', 'cameras:=[front, left]',
             'compressed:=true', 'autostart:=false', 'use_sim_time:=true', 'live:=true',
             'log_level:=warn', 'respawn:=false')
    expected = {
        'model': '/a/model', 'device': 'cpu', 'quantization': 'q0f32', 'context_length': 512,
        'cameras': ['front', 'left'], 'compressed': True, 'autostart': False,
        'use_sim_time': True, 'live.enabled': True}
    assert parameters(client, '/robot/eyes', list(expected)) == expected


def test_what_is_left_out_is_the_parameter_files(client, launched, tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters:\n    autostart: false\n    compressed: true\n'
                    '    quantization: q0f16\n    live: {enabled: true}\n')
    launched(f'params_file:={file}', 'quantization:=q4f32_1')
    expected = {'compressed': True, 'quantization': 'q4f32_1', 'live.enabled': True,
                'autostart': False}
    assert parameters(client, '/nanovlm', list(expected)) == expected


def test_image_remaps_both_kinds_of_topic(client, launched):
    launched('image:=/camera/image_raw', 'compressed:=true')
    names = []
    for _ in range(PATIENCE * 10):
        rclpy.spin_once(client, timeout_sec=0.1)
        names = [info.node_name for info in
                 client.get_subscriptions_info_by_topic('/camera/image_raw/compressed')]
        if names:
            break
    assert names == ['nanovlm']


@pytest.mark.parametrize('given, expected', [
    ('', 'LARGE_DATA?max_msg_size=2MB&sockets_size=2MB'), ('UDPv4', 'UDPv4')])
def test_the_transport_for_images_is_set_unless_it_is_chosen_already(given, expected):
    script = '''
import runpy, sys
from launch import LaunchContext
from launch.actions import SetEnvironmentVariable
context = LaunchContext()
description = runpy.run_path(sys.argv[1])['generate_launch_description']()
for entity in description.entities:
    if isinstance(entity, SetEnvironmentVariable):
        entity.execute(context)
print(context.environment['FASTDDS_BUILTIN_TRANSPORTS'])
'''
    environment = {k: v for k, v in os.environ.items() if k != 'FASTDDS_BUILTIN_TRANSPORTS'}
    if given:
        environment['FASTDDS_BUILTIN_TRANSPORTS'] = given
    done = subprocess.run([sys.executable, '-c', script, str(LAUNCH_FILE)], env=environment,
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
