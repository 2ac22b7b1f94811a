# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks the node through ~/ask and ~/generate, as a planner would."""
import time
from typing import Callable, List

import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import SetBool

from nanovlm_ros.action import Generate
from nanovlm_ros.msg import Answer, Event, ModelStatus, Query
from nanovlm_ros.srv import Ask, SetPrompts

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Client(Node):
    """A node of its own; call it from one thread."""

    def __init__(self):
        super().__init__('planner')
        self._ask = self.create_client(Ask, '/nanovlm/ask')
        self._generate = ActionClient(
            self, Generate, '/nanovlm/generate',
            feedback_sub_qos_profile=QoSProfile(depth=1000))  # tokens come in bursts
        self._set_prompts = self.create_client(SetPrompts, '/nanovlm/set_prompts')
        self._enable = self.create_client(SetBool, '/nanovlm/enable')
        self._state = ''
        self.create_subscription(ModelStatus, '/nanovlm/status', self._on_status, LATCHED)

    def wait_for_node(self, timeout: float) -> bool:
        """Wait until the node is active; False after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self._state != 'active' and time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.05)
        return (self._state == 'active' and self._ask.wait_for_service(timeout)
                and self._generate.wait_for_server(timeout))

    def _on_status(self, status: ModelStatus) -> None:
        self._state = status.state

    def ask(self, query: Query) -> Answer:
        """Ask through the service."""
        return self._await(self._ask.call_async(Ask.Request(query=query))).answer

    def generate(self, query: Query, show: Callable[[str], None]) -> Answer:
        """Ask through the action; `show` gets the text as it is made."""
        goal = self._await(self._generate.send_goal_async(
            Generate.Goal(query=query),
            feedback_callback=lambda m: show(m.feedback.chunk.delta)))
        return self._await(goal.get_result_async()).result.answer

    def watch(self, prompts: List[str], seconds: float, on_answer: Callable[[Answer], None],
              event: str, on_event: Callable[[Event], None]) -> None:
        """Have the prompts asked about every new image for some time; follow an event, too."""
        heard = [
            self.create_subscription(Answer, '/nanovlm/answers', on_answer, 100),
            self.create_subscription(Event, f'/nanovlm/event/{event}', on_event, LATCHED)]
        self._await(self._set_prompts.call_async(SetPrompts.Request(prompts=prompts)))
        self._await(self._enable.call_async(SetBool.Request(data=True)))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.05)
        self._await(self._enable.call_async(SetBool.Request(data=False)))
        for subscription in heard:
            self.destroy_subscription(subscription)

    def now(self) -> int:
        """Return the time of the node's clock in ns."""
        return self.get_clock().now().nanoseconds

    def _await(self, future):
        rclpy.spin_until_future_complete(self, future, timeout_sec=60)
        if not future.done():
            raise TimeoutError('The node did not reply within 60 s.')
        return future.result()
