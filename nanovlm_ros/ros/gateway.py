# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every request's way through the node: into the executor, and out on the topics.

It is there as long as the node, so that late replies have their topics, and
open while the node is active.
"""
import time
import uuid
from typing import Callable, List, Optional, Sequence, Set

from rclpy.clock import Clock, ClockType
from rclpy.task import Future

from nanovlm_ros import msg, types
from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.request import Ticket
from nanovlm_ros.ros.cancellation import Cancellation
from nanovlm_ros.ros.conversions import answer_message, chunk_message, newest
from nanovlm_ros.ros.resolver import Resolver
from nanovlm_ros.types import CANCELED, ERROR, TIMEOUT, Answer, ErrorCode, NanoVlmError, Query

GRACE = 1.0  # s that the executor may be late with an answer before the node replies itself


class Gateway:
    """Publishes the stream and the answer of each request, and hands them to its asker."""

    def __init__(self, node):
        self._node = node
        self._executor: Optional[MlcExecutor] = None  # while open
        self._resolver: Optional[Resolver] = None
        self._stream = node.create_publisher(msg.TextChunk, '~/stream', 100)
        self._answers = node.create_publisher(msg.Answer, '~/answers', 100)
        self._active: Set[Cancellation] = set()
        self.on_answer: Callable[[Answer], None] = lambda answer: None

    def open(self, executor: MlcExecutor, resolver: Resolver) -> None:
        """Take requests."""
        self._executor, self._resolver = executor, resolver

    def close(self) -> None:
        """Take no more, and cancel what clients wait for; the replies go out as the node spins."""
        self._executor = self._resolver = None
        for cancellation in list(self._active):
            cancellation.cancel()

    async def ask(self, message: msg.Query, limit: float,
                  on_chunk: Callable[[msg.TextChunk], None] = lambda chunk: None,
                  cancellation: Optional[Cancellation] = None) -> msg.Answer:
        """Answer a Query message; whatever happens there is one answer, by the deadline."""
        message.request_id = message.request_id or uuid.uuid4().hex[:12]
        cancellation = cancellation or Cancellation()
        self._active.add(cancellation)
        try:
            return await self._answer(message, limit, on_chunk, cancellation)
        except NanoVlmError as error:
            return self._refuse(message, error, on_chunk)
        except Exception as error:  # a fault of ours costs this request, not the node
            self._node.get_logger().error(f'Request {message.request_id} failed: {error!r}')
            return self._refuse(message, NanoVlmError(
                ErrorCode.MODEL_ERROR, f'The node failed: {error!r}.'), on_chunk)
        finally:
            self._active.discard(cancellation)

    async def _answer(self, message, limit, on_chunk, cancellation) -> msg.Answer:
        if self._resolver is None:
            raise not_active()
        deadline = self._resolver.deadline(message, limit)
        query = await self._resolver.resolve(message, deadline, cancellation)
        future = Future(executor=self._node.executor)
        ticket = self.submit(query, lambda answer: self._resolve(future, answer), on_chunk)
        cancellation.on_cancel(ticket.cancel)
        timer = self._node.create_timer(
            max(deadline + GRACE - time.monotonic(), 0.001),
            lambda: self._give_up(future, ticket, query),
            clock=Clock(clock_type=ClockType.STEADY_TIME))
        try:
            return await future
        finally:
            self._node.destroy_timer(timer)

    def submit(self, query: Query, on_answer: Callable[[msg.Answer], None],
               on_chunk: Callable[[msg.TextChunk], None]) -> Ticket:
        """Queue a query; both callbacks run on the executor's thread. Raises NanoVlmError."""
        return self._open_executor().submit(query, *self._outlets(query, on_answer, on_chunk))

    def submit_tick(self, queries: Sequence[Query], on_answer: Callable[[msg.Answer], None]
                    ) -> List[Ticket]:
        """Queue the queries of a live tick, which are about the same images, as `submit` does."""
        return self._open_executor().submit_tick(
            queries, *self._outlets(queries[0], on_answer, lambda chunk: None))

    def _open_executor(self) -> MlcExecutor:
        if self._executor is None:
            raise not_active()
        return self._executor

    def _outlets(self, query: Query, on_answer, on_chunk):
        """Return what the executor calls with the chunks and answers about a query's images."""
        source = newest(query.frames)

        def chunk_made(chunk: types.TextChunk) -> None:
            message = chunk_message(chunk, source)
            self._stream.publish(message)
            on_chunk(message)

        def answered(answer: Answer) -> None:
            message = answer_message(answer)
            self._answers.publish(message)
            self.on_answer(answer)
            on_answer(message)

        return chunk_made, answered

    def _refuse(self, message: msg.Query, error: NanoVlmError, on_chunk) -> msg.Answer:
        reason = CANCELED if error.code == ErrorCode.CANCELED else ERROR
        answer = Answer(
            request_id=message.request_id, prompt=message.prompt,
            finish_reason=reason, error_code=error.code, error_message=error.message)
        chunk = chunk_message(
            types.TextChunk(answer.request_id, 0, '', True, '', reason), newest(()))
        self._stream.publish(chunk)
        on_chunk(chunk)
        reply = answer_message(answer)
        self._answers.publish(reply)
        return reply

    def _resolve(self, future: Future, answer: msg.Answer) -> None:
        if not future.done():
            future.set_result(answer)
        # Only an event resumes the callback that awaits this; None: the node is going down.
        executor = self._node.executor
        if executor is not None:
            executor.wake()

    def _give_up(self, future: Future, ticket: Ticket, query: Query) -> None:
        """Reply although the executor is late; its own answer still goes out on the topics."""
        ticket.cancel()
        self._resolve(future, answer_message(Answer(
            request_id=query.request_id, prompt=query.prompt, finish_reason=TIMEOUT,
            error_code=ErrorCode.TIMEOUT, error_message='The deadline passed while a step of the '
            'model was still running; allow more time or use a smaller model.')))


def not_active() -> NanoVlmError:
    """Return the error of a request to a node that is not active."""
    return NanoVlmError(
        ErrorCode.NOT_READY, 'The node is not active; configure and activate it with '
        '`ros2 lifecycle set`, or start it with autostart.')
