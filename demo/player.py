# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Plays the images of a bag in real time, stamped as of now.

Prints the wall time of the bag's beginning, in ns, when the first image goes out:
a stamp less that time is a time in the bag.
"""
import argparse
import array
import time
from pathlib import Path
from typing import Dict

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage


def images(bag: Path):
    """Yield (ns since the first image, CompressedImage) of the bag's image topic."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections
                       if c.msgtype == 'sensor_msgs/msg/CompressedImage']
        first = None
        for connection, stamp, raw in reader.messages(connections):
            message = reader.deserialize(raw, connection.msgtype)
            first = stamp if first is None else first
            yield stamp - first, message


def period_ns(bag: Dict[int, CompressedImage]) -> int:
    """Return the time from the first image to where the first of the next round belongs."""
    *_, before, last = bag
    return 2 * last - before


def main() -> None:
    """Publish on image/compressed until the last round ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('bag', type=Path)
    parser.add_argument('--rounds', type=int, default=1, help='how often (default: 1)')
    arguments = parser.parse_args()
    bag = dict(images(arguments.bag))
    rclpy.init()
    node = Node('player')
    publisher = node.create_publisher(
        CompressedImage, 'image/compressed',
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    while not publisher.get_subscription_count():
        time.sleep(0.02)
    begin = node.get_clock().now().nanoseconds
    print(begin, flush=True)
    for turn in range(arguments.rounds):
        for offset, recorded in bag.items():
            stamp = begin + turn * period_ns(bag) + offset
            time.sleep(max(0.0, (stamp - node.get_clock().now().nanoseconds) / 1e9))
            if not rclpy.ok():  # a signal came
                return
            publisher.publish(restamped(recorded, stamp))
    rclpy.shutdown()


def restamped(recorded, stamp: int) -> CompressedImage:
    """Return the message of a recorded image with a stamp in ns."""
    message = CompressedImage(format=recorded.format)
    message.header.frame_id = recorded.header.frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    message.data = array.array('B', recorded.data.tobytes())
    return message


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:  # the demo is over before the bag
        pass
