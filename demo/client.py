# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks the node through ~/ask and ~/generate, as a planner would."""
from typing import Callable

import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile

from nanovlm_ros.action import Generate
from nanovlm_ros.msg import Answer, Query
from nanovlm_ros.srv import Ask


class Client(Node):
    """A node of its own; call it from one thread."""

    def __init__(self):
        super().__init__('planner')
        self._ask = self.create_client(Ask, '/nanovlm/ask')
        self._generate = ActionClient(
            self, Generate, '/nanovlm/generate',
            feedback_sub_qos_profile=QoSProfile(depth=1000))  # tokens come in bursts

    def wait_for_node(self, timeout: float) -> bool:
        """Wait until the node is active; False after `timeout` seconds."""
        return (self._ask.wait_for_service(timeout)
                and self._generate.wait_for_server(timeout))

    def ask(self, query: Query) -> Answer:
        """Ask through the service."""
        return self._await(self._ask.call_async(Ask.Request(query=query))).answer

    def generate(self, query: Query, show: Callable[[str], None]) -> Answer:
        """Ask through the action; `show` gets the text as it is made."""
        goal = self._await(self._generate.send_goal_async(
            Generate.Goal(query=query),
            feedback_callback=lambda m: show(m.feedback.chunk.delta)))
        return self._await(goal.get_result_async()).result.answer

    def now(self) -> int:
        """Return the time of the node's clock in ns."""
        return self.get_clock().now().nanoseconds

    def _await(self, future):
        rclpy.spin_until_future_complete(self, future, timeout_sec=60)
        if not future.done():
            raise TimeoutError('The node did not reply within 60 s.')
        return future.result()
