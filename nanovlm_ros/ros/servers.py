# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The services and the action.

They are there as long as the node and answer NOT_READY unless it is active: the
client of a service that went away waits forever, and a reply that is owed needs
its server.
"""
import threading
from typing import Callable, Dict, Optional

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from nanovlm_ros.action import Generate
from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.structured import compile_schema
from nanovlm_ros.ros.cancellation import Cancellation
from nanovlm_ros.ros.gateway import Gateway, not_active
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.srv import Ask, SetPrompts
from nanovlm_ros.types import CANCELED, LENGTH, STOP, ErrorCode, NanoVlmError

FEEDBACK_DEPTH = 1000  # chunks


class Servers:
    """Turns calls into requests to `gateway`; `executor()` is the active one, or None.

    `forget()` empties the windows of the cameras and ends events, as part of ~/reset.
    """

    def __init__(self, node, parameters: Parameters, gateway: Gateway,
                 executor: Callable[[], Optional[MlcExecutor]], forget: Callable[[], None]):
        self._node, self._parameters = node, parameters
        self._gateway, self._executor, self._forget = gateway, executor, forget
        self._cancellations: Dict[bytes, Cancellation] = {}  # by goal
        self.pending = 0  # callbacks that have not replied yet
        # Reentrant: a request in flight must not keep the next one, or images, waiting.
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
                (Ask, 'ask', self._on_ask), (SetPrompts, 'set_prompts', self._on_set_prompts),
                (Trigger, 'reset', self._on_reset), (SetBool, 'enable', self._on_enable)):
            node.create_service(kind, f'~/{name}', callback, callback_group=group)
        self._action = ActionServer(
            node, Generate, '~/generate', self._on_generate, callback_group=group,
            cancel_callback=self._on_cancel,
            # Tokens of a small model come faster than they are acknowledged.
            feedback_pub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))

    def destroy(self) -> None:
        """Take the action off the graph; the services go with the node."""
        self._action.destroy()

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
            executor = self._executor()
            if executor is None:
                raise not_active()
            if any(not prompt.strip() for prompt in request.prompts):
                raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                                   'A live prompt is empty; nothing was changed.')
            if len(request.json_schemas) not in (0, 1, len(request.prompts)):
                raise NanoVlmError(
                    ErrorCode.INVALID_REQUEST,
                    f'{len(request.json_schemas)} JSON schemas came with {len(request.prompts)} '
                    'prompts; give one a prompt, one for all, or none.')
            for schema in request.json_schemas:
                compile_schema(schema, executor.model.tokenizer)
        except NanoVlmError as error:
            response.message, response.error_code = error.message, int(error.code)
            return response
        # One atomic change of parameters: whoever reads them sees what the service set.
        result = self._node.set_parameters_atomically([
            Parameter('live.prompts', Parameter.Type.STRING_ARRAY, list(request.prompts) or ['']),
            Parameter('live.json_schemas', Parameter.Type.STRING_ARRAY,
                      list(request.json_schemas) or [''])])
        response.success, response.message = result.successful, result.reason
        if not result.successful:
            response.error_code = int(ErrorCode.INVALID_REQUEST)
        return response

    async def _on_reset(self, request, response):
        executor = self._executor()
        if executor is None:
            response.message = not_active().message
            return response
        # It waits for the end of a step, and the node must go on meanwhile.
        done = Future(executor=self._node.executor)

        def reset() -> None:
            problem = ''
            try:
                executor.reset()
            except Exception as error:  # what the model raised reaches the client
                problem = str(error)
            done.set_result(problem)
            if self._node.executor is not None:
                self._node.executor.wake()

        self.pending += 1
        try:
            threading.Thread(target=reset, name='reset', daemon=True).start()
            problem = await done
        finally:
            self.pending -= 1
        self._forget()
        response.success = not problem
        response.message = problem or 'The conversation, the windows and the cache are empty.'
        return response

    def _on_enable(self, request, response):
        result = self._node.set_parameters(
            [Parameter('live.enabled', Parameter.Type.BOOL, request.data)])[0]
        response.success, response.message = result.successful, result.reason
        return response
