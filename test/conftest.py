# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What must be in the environment before rclpy and torch are loaded.

A ROS graph of its own for each pytest process and its children, and threads that wait
as a node's do.
"""
import os

os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)  # two runs must not hear each other
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# Without it sensor-data images of camera size are lost.
os.environ['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA?max_msg_size=2MB&sockets_size=2MB'
# As engine.loader sets it, which is too late where a test has imported torch before.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
