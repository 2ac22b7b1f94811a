# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Processes of the tests: `node` is the real main() with a fake model, `camera` a 30 Hz camera.

`python process.py node TOKEN_SECONDS STUCK [ROS arguments]`: the answer takes 100 tokens of
TOKEN_SECONDS; the first decode step of a prompt never ends when STUCK is 1.
`python process.py camera`: 640x480 rgb8 on /image until it is ended; the frame_id is the
number of the image.
"""
import array
import os
import sys
import threading
from pathlib import Path


def node(token_seconds, stuck, *arguments):
    """Run the node's own main() and exit with its code."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes
    from fakes import FakeModel

    from nanovlm_ros.ros import node as module

    def before(stage):
        if stage == 'decode' and int(stuck):
            threading.Event().wait()

    real = module.NanoVlmNode
    module.NanoVlmNode = lambda: real(lambda *a, **k: FakeModel(
        lambda turns: ' ' + 'a' * 100, token_seconds=float(token_seconds), before=before))
    sys.exit(module.main([sys.argv[0], *arguments]))


def camera():
    """Publish until SIGTERM, or until the parent is gone."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    rclpy.init()
    made = rclpy.create_node('camera')
    publisher = made.create_publisher(Image, '/image', qos_profile_sensor_data)
    message = Image(height=480, width=640, encoding='rgb8', step=1920)
    message.data = array.array('B', bytes(1920 * 480))
    parent, count = os.getppid(), 0

    def publish():
        nonlocal count
        if os.getppid() != parent:
            sys.exit()
        count += 1
        message.header.frame_id = str(count)
        message.header.stamp = made.get_clock().now().to_msg()
        publisher.publish(message)

    made.create_timer(1 / 30, publish)
    try:
        rclpy.spin(made)
    except ExternalShutdownException:  # SIGTERM
        pass


if __name__ == '__main__':
    {'node': node, 'camera': camera}[sys.argv[1]](*sys.argv[2:])
