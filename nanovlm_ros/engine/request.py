# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One accepted request: what it was asked, how far it is, and its single end."""
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional

import numpy as np

from nanovlm_ros.engine.sampler import Sampler
from nanovlm_ros.engine.structured import Constraint, JsonSchema
from nanovlm_ros.engine.text_stream import TextStream
from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.types import (
    ERROR, LENGTH, STOP, Answer, ErrorCode, ImageRef, JsonStatus, Query, TextChunk, Timings)

LOG = logging.getLogger(__name__)


class Ticket:
    """What the asker keeps of a request."""

    def __init__(self, request: 'Request'):
        self._request = request
        self.request_id = request.query.request_id

    def cancel(self) -> None:
        """Ask for the end; a flag read before every token. Harmless once done."""
        self._request.canceled = True
        self._request.wake()

    @property
    def done(self) -> bool:
        """The answer was handed over."""
        return self._request.done


@dataclass(eq=False)
class Request:
    """State of a request; the executor's thread owns everything but `canceled` and `finish`."""

    query: Query
    schema: Optional[JsonSchema]
    on_chunk: Callable[[TextChunk], None]
    on_answer: Callable[[Answer], None]
    live: bool
    model_name: str
    wake: Callable[[], None]
    accepted: float = field(default_factory=time.monotonic)
    canceled: bool = False
    done: bool = False
    turns: List[Turn] = field(default_factory=list)
    prompt: Optional[Prompt] = None
    sequence: Optional[int] = None
    sampler: Optional[Sampler] = None
    stream: Optional[TextStream] = None
    constraint: Optional[Constraint] = None
    budget: int = 0           # tokens that may still be made
    next_token: int = -1      # sampled, not yet run
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: Dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _chunks: int = 0
    _unsent: str = ''
    _last_sent: float = 0.0

    @property
    def user_text(self) -> str:
        """The question as the model reads it."""
        prompt = self.query.prompt.strip()
        return f'{prompt} {self.schema.instruction()}' if self.schema else prompt

    def take(self, logits: np.ndarray, stop_ids) -> Optional[str]:
        """Sample a token and show its text; return the finish reason when it was the last."""
        allowed = self.constraint.allowed() if self.constraint else None
        token = self.sampler.sample(logits, allowed)
        self.budget -= 1
        if token in stop_ids:
            return STOP
        self.completion_tokens += 1
        self.next_token = token
        if self.constraint:
            self.constraint.accept(token)
        self._show(self.stream.push(token))
        if self.stream.stopped or (self.constraint and self.constraint.complete):
            return STOP
        return LENGTH if self.budget <= 0 else None

    def finish(self, reason: str, code: ErrorCode = ErrorCode.NONE, message: str = '') -> bool:
        """Hand over the last chunk and the answer; True for the one call that did."""
        with self._lock:
            if self.done:
                return False
            self.done = True
        text = ''
        if self.stream is not None:
            self._unsent += self.stream.finish()
            text = self.stream.text
        answer = self._answer(reason, text, code, message)
        self._send(TextChunk(self.query.request_id, self._chunks, self._unsent, True, text, reason))
        self._call(self.on_answer, answer)
        return True

    def _show(self, delta: str) -> None:
        self._unsent += delta
        now = time.monotonic()
        if not self._unsent or self.done:
            return
        self.seconds.setdefault('first_token', now - self.accepted)
        if now - self._last_sent >= self.query.stream_period:
            self._send(TextChunk(self.query.request_id, self._chunks, self._unsent))
            self._chunks += 1
            self._unsent, self._last_sent = '', now

    def _answer(self, reason, text, code, message) -> Answer:
        status, document = JsonStatus.NOT_REQUESTED, ''
        if self.schema is not None:
            complete = reason == STOP and code == ErrorCode.NONE
            status, problem = self.schema.judge(text, complete)
            message = message or problem
            if status == JsonStatus.VALID:
                document = text
            elif status == JsonStatus.INVALID:
                code, reason = ErrorCode.JSON_INVALID, ERROR
        now = time.monotonic()
        frames, ages = self.query.frames, self.query.image_ages
        ages = ages or (0.0,) * len(frames)
        return Answer(
            request_id=self.query.request_id, prompt=self.query.prompt, text=text, json=document,
            json_status=status, finish_reason=reason,
            images=tuple(ImageRef(f.stamp_ns, f.frame_id, f.camera, f.width, f.height, age)
                         for f, age in zip(frames, ages)),
            prompt_tokens=self.prompt.n_tokens if self.prompt else 0,
            image_tokens=self.prompt.n_image_tokens if self.prompt else 0,
            cached_tokens=self.cached_tokens, completion_tokens=self.completion_tokens,
            timings=Timings(**self.seconds, total=now - self.accepted), model=self.model_name,
            error_code=code, error_message=message)

    def _send(self, chunk: TextChunk) -> None:
        self._call(self.on_chunk, chunk)

    def _call(self, callback, argument) -> None:
        try:
            callback(argument)
        except Exception:  # the asker's fault must not reach the other requests
            LOG.exception('A callback of request %s failed.', self.query.request_id)
