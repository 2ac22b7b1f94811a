# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm bench --node`: the real node as a process, a camera and a planner here."""
import array
import os
import signal
import subprocess
import sys
import threading
import time
from statistics import median
from typing import Callable

import numpy as np

# Set before rclpy is loaded: a domain of our own on this machine.
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA?max_msg_size=2MB&sockets_size=2MB')

PROMPT = 'Is there a box?'
IDLE = 10.0  # s over which the CPU of the idle node is counted


def measure_node(repeat: int, picture: Callable[[], np.ndarray]) -> dict:
    """Start the node and return medians; `picture` makes 640x480 RGB pixels."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    began = time.monotonic()
    process = subprocess.Popen([sys.executable, '-m', 'nanovlm_ros.ros.node',
                                '--ros-args', '--log-level', 'nanovlm:=warn'])
    rclpy.init()
    bench = _Bench(picture)
    executor = SingleThreadedExecutor()
    executor.add_node(bench.node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    try:
        while bench.state != 'active':
            executor.spin_once(timeout_sec=0.05)
            if process.poll() is not None:
                raise RuntimeError(f'The node ended with exit code {process.returncode}.')
        active = time.monotonic() - began
        spinner.start()
        result = {'active_s': round(active, 2), **bench.measure_idle(process.pid)}
        result.update(bench.measure_answers(repeat))
        return result
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        executor.shutdown()
        rclpy.shutdown()


class _Bench:
    """A 30 Hz camera and a planner in one node."""

    def __init__(self, picture: Callable[[], np.ndarray]):
        from rclpy.node import Node
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image

        from nanovlm_ros.msg import ModelStatus
        from nanovlm_ros.ros.health import LATCHED
        from nanovlm_ros.srv import Ask

        self.node = Node('bench')
        self.ask_client = self.node.create_client(Ask, '/nanovlm/ask')
        self.state = ''
        self.node.create_subscription(ModelStatus, '/nanovlm/status', self._on_status, LATCHED)
        self._publisher = self.node.create_publisher(Image, 'image', qos_profile_sensor_data)
        pixels = picture()
        self._message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding='rgb8',
                              step=pixels.shape[1] * 3)
        self._message.data = array.array('B', pixels.tobytes())
        self.node.create_timer(1 / 30, self._publish)

    def _on_status(self, status) -> None:
        self.state = status.state

    def _publish(self) -> None:
        self._message.header.stamp = self.node.get_clock().now().to_msg()
        self._publisher.publish(self._message)

    def measure_idle(self, pid: int) -> dict:
        """CPU and memory of the node while images come and nobody asks."""
        time.sleep(1.0)
        before = _cpu_seconds(pid)
        time.sleep(IDLE)
        return {'idle_cpu_percent': round((_cpu_seconds(pid) - before) / IDLE * 100, 1),
                'resident_mib': _resident_mib(pid)}

    def measure_answers(self, repeat: int) -> dict:
        """Round trips without an image, and on the next image that the camera sends."""
        from nanovlm_ros.msg import Query

        none = [self._ask(Query(prompt=PROMPT, image_source=Query.NONE)) for _ in range(repeat)]
        seen = [self._ask(Query(prompt=PROMPT, image_source=Query.NEXT)) for _ in range(repeat)]
        return {
            'overhead_ms_p50': _ms(none, lambda trip, answer, age: trip - answer.timings.total),
            'first_token_ms_p50': _ms(seen, lambda trip, answer, age: answer.timings.first_token),
            'answer_ms_p50': _ms(seen, lambda trip, answer, age: answer.timings.total),
            'camera_to_answer_ms_p50': _ms(seen, lambda trip, answer, age: age),
        }

    def _ask(self, query):
        from nanovlm_ros.srv import Ask

        done, began = threading.Event(), time.monotonic()
        future = self.ask_client.call_async(Ask.Request(query=query))
        future.add_done_callback(lambda _: done.set())
        if not done.wait(60):
            raise TimeoutError('The node did not reply within 60 s.')
        trip, answer = time.monotonic() - began, future.result().answer
        stamp = answer.header.stamp.sec + answer.header.stamp.nanosec / 1e9
        return trip, answer, self.node.get_clock().now().nanoseconds / 1e9 - stamp


def _ms(rows, value) -> float:
    return round(median(value(*row) for row in rows) * 1000, 2)


def _cpu_seconds(pid: int) -> float:
    with open(f'/proc/{pid}/stat', encoding='ascii') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _resident_mib(pid: int) -> float:
    with open(f'/proc/{pid}/statm', encoding='ascii') as file:
        return round(int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2 ** 20, 1)
