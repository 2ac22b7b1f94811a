# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The services and the action of an active node."""
from typing import Dict

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool, Trigger

from nanovlm_ros.action import Generate
from nanovlm_ros.engine.structured import compile_schema
from nanovlm_ros.ros.cancellation import Cancellation
from nanovlm_ros.ros.gateway import Gateway
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.srv import Ask, SetPrompts
from nanovlm_ros.types import CANCELED, LENGTH, STOP, ErrorCode, NanoVlmError

FEEDBACK_DEPTH = 1000  # chunks


class Servers:
    """Created on activate, destroyed on deactivate; `gateway` does the work."""

    def __init__(self, node, parameters: Parameters, gateway: Gateway, executor, live):
        self._node, self._parameters = node, parameters
        self._gateway, self._executor, self._live = gateway, executor, live
        self._cancellations: Dict[bytes, Cancellation] = {}  # by goal
        self.pending = 0    # callbacks that have not replied yet
        self._timer = None  # of `retire`
        # Reentrant: a request in flight must not keep the next one, or images, waiting.
        group = ReentrantCallbackGroup()
        self._services = [
            node.create_service(kind, f'~/{name}', callback, callback_group=group)
            for kind, name, callback in (
                (Ask, 'ask', self._on_ask), (SetPrompts, 'set_prompts', self._on_set_prompts),
                (Trigger, 'reset', self._on_reset), (SetBool, 'enable', self._on_enable))]
        self._action = ActionServer(
            node, Generate, '~/generate', self._on_generate, callback_group=group,
            cancel_callback=self._on_cancel,
            # Tokens of a small model come faster than they are acknowledged.
            feedback_pub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))

    def retire(self) -> None:
        """Take the servers off the graph, once the replies that are owed have gone out.

        The replies need the ROS thread, which is busy with the transition that
        calls this: so they, and then the end, come after it.
        """
        if not self.pending:
            self.destroy()
        elif self._timer is None:
            self._timer = self._node.create_timer(0.02, self.retire)

    def destroy(self) -> None:
        """Take the servers off the graph now; harmless when they are gone."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        if self._action is not None:
            self._action.destroy()
            self._action = None
        while self._services:
            self._node.destroy_service(self._services.pop())

    async def _on_ask(self, request, response):
        self.pending += 1
        try:
            response.answer = await self._gateway.ask(
                request.query, self._parameters['ask_timeout'])
            return response
        finally:
            self.pending -= 1

    async def _on_generate(self, goal):
        key = bytes(goal.goal_id.uuid)
        cancellation = self._cancellations.setdefault(key, Cancellation())

        def feedback(chunk) -> None:
            if goal.is_active:
                goal.publish_feedback(Generate.Feedback(chunk=chunk))

        self.pending += 1
        try:
            answer = await self._gateway.ask(
                goal.request.query, self._parameters['generate_timeout'], feedback, cancellation)
        finally:
            self.pending -= 1
            del self._cancellations[key]
        if goal.is_cancel_requested and answer.finish_reason == CANCELED:
            goal.canceled()
        elif answer.finish_reason in (STOP, LENGTH):
            goal.succeed()
        else:
            goal.abort()
        return Generate.Result(answer=answer)

    def _on_cancel(self, goal):
        # The goal may not run yet; its callback then finds the wish.
        key = bytes(goal.goal_id.uuid)
        self._cancellations.setdefault(key, Cancellation()).cancel()
        return CancelResponse.ACCEPT

    def _on_set_prompts(self, request, response):
        try:
            if any(not prompt.strip() for prompt in request.prompts):
                raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                                   'A live prompt is empty; nothing was changed.')
            compile_schema(request.json_schema, self._executor.model.tokenizer)
        except NanoVlmError as error:
            response.message, response.error_code = error.message, int(error.code)
            return response
        # One atomic change of parameters: whoever reads them sees what the service set.
        result = self._node.set_parameters_atomically([
            Parameter('live.prompts', Parameter.Type.STRING_ARRAY, list(request.prompts) or ['']),
            Parameter('live.json_schema', Parameter.Type.STRING, request.json_schema)])
        response.success, response.message = result.successful, result.reason
        if not result.successful:
            response.error_code = int(ErrorCode.INVALID_REQUEST)
        return response

    def _on_reset(self, request, response):
        try:
            self._executor.reset()
        except Exception as error:  # what the model raised reaches the client
            response.success, response.message = False, str(error)
        else:
            response.success, response.message = True, 'The conversation and its cache are empty.'
        return response

    def _on_enable(self, request, response):
        result = self._node.set_parameters(
            [Parameter('live.enabled', Parameter.Type.BOOL, request.data)])[0]
        response.success, response.message = result.successful, result.reason
        return response
