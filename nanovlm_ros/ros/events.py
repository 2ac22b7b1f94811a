# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""~/event/<name>: what the rules of event.rules find in live answers, latched."""
import threading
from typing import List

from rclpy.qos import DurabilityPolicy, QoSProfile

from nanovlm_ros import msg
from nanovlm_ros.engine.events import Event, parse_rules
from nanovlm_ros.ros.conversions import header

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Events:
    """One latched topic a rule; the state at the start, not active, is published, too."""

    def __init__(self, node, rules: List[str]):
        self._node = node
        self._lock = threading.Lock()  # the node's thread resets, the executor's observes
        self.era = 0
        self._events = [Event(rule) for rule in parse_rules(rules)]
        self._publishers = {
            event.rule.name: node.create_publisher(
                msg.Event, f'~/event/{event.rule.name}', LATCHED) for event in self._events}
        self.reset()

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def reset(self) -> None:
        """Forget what was seen; answers to what was asked before count no more."""
        with self._lock:
            self.era += 1
            for event in self._events:
                event.forget()
                self._publish(event, msg.Answer())

    def observe(self, era: int, at_ns: int, answer: msg.Answer) -> None:
        """Take note of a live answer; called on the executor's thread.

        `era` is that of the question, `at_ns` the time of the newest image that it is about.
        """
        if answer.error_code:
            return  # nothing was seen, and nothing was not
        with self._lock:
            if era != self.era:
                return
            for event in self._events:
                if event.observe(at_ns, answer.prompt, answer.text, answer.json):
                    self._publish(event, answer)

    def _publish(self, event: Event, answer: msg.Answer) -> None:
        def time(ns):
            return header(ns, '').stamp

        self._publishers[event.rule.name].publish(msg.Event(
            header=answer.header, name=event.rule.name, active=event.active,
            begin=time(event.begin_ns), last=time(event.last_ns), end=time(event.end_ns),
            camera=answer.images[-1].camera if answer.images else '', prompt=answer.prompt,
            text=answer.text, request_id=answer.request_id))
