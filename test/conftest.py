# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of its own for each pytest process and its children: set before rclpy is loaded."""
import os

os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)  # two runs must not hear each other
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# Without it sensor-data images of camera size are lost.
os.environ['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA?max_msg_size=2MB&sockets_size=2MB'
