# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Start the node `nanovlm`. An argument that is left empty keeps what the parameter file says."""
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

# Fast DDS's default loses nearly every image that is sent best effort.
TRANSPORT = 'LARGE_DATA?max_msg_size=2MB&sockets_size=2MB'

# Arguments that are parameters of the same name: description, choices.
PARAMETERS = {
    'model': ('Folder of the model; empty: the demo model that ships.', None),
    'device': ('Where inference runs.', ['', 'auto', 'cuda', 'cpu']),
    'quantization': ('How the language model\'s weights are stored.',
                     ['', 'q4f16_1', 'q4f32_1', 'q0f16', 'q0f32']),
    'context_length': ('Tokens of prompt and answer; 0: as the model was trained.', None),
    'cameras': ('Names of the cameras, for example "[front, left]".', None),
    'compressed': ('Subscribe to compressed images.', ['', 'true', 'false']),
    'autostart': ('Configure and activate the node at once.', ['', 'true', 'false']),
    'use_sim_time': ('Take the time from /clock.', ['', 'true', 'false']),
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    share = Path(get_package_share_directory('nanovlm_ros'))
    return LaunchDescription([
        DeclareLaunchArgument('params_file', default_value=str(share / 'config' / 'nanovlm.yaml'),
                              description='YAML file of parameters.'),
        *(DeclareLaunchArgument(
            name, default_value='', description=description,
            **({'choices': choices} if choices else {}))
          for name, (description, choices) in PARAMETERS.items()),
        DeclareLaunchArgument('live', default_value='', choices=['', 'true', 'false'],
                              description='Ask live.prompts about every new image.'),
        DeclareLaunchArgument('window', default_value='', choices=['', 'true', 'false'],
                              description='Keep a window of the newest frames of each camera.'),
        DeclareLaunchArgument('image', default_value='image',
                              description='Topic of the (first, unnamed) camera, without '
                                          '/compressed.'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument('name', default_value='nanovlm', description='Name of the node.'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Least severe messages to print.'),
        DeclareLaunchArgument('respawn', default_value='false', choices=['true', 'false'],
                              description='Start the node again when it ends.'),
        SetEnvironmentVariable(
            'FASTDDS_BUILTIN_TRANSPORTS',
            EnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', default_value=TRANSPORT)),
        OpaqueFunction(function=_node),
    ])


def _node(context):
    def value(name):
        return LaunchConfiguration(name).perform(context)

    given = {name: yaml.safe_load(value(name)) for name in PARAMETERS if value(name)}
    if 'model' in given:
        given['model'] = value('model')  # a folder may be called 7
    for name in ('live', 'window'):
        if value(name):
            given[f'{name}.enabled'] = yaml.safe_load(value(name))
    image = value('image')
    return [Node(
        package='nanovlm_ros', executable='nanovlm_node', name=value('name'),
        namespace=value('namespace'), parameters=[value('params_file'), given],
        remappings=[('image', image), ('image/compressed', f'{image}/compressed')],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen', emulate_tty=True, respawn=value('respawn') == 'true', respawn_delay=2.0)]
