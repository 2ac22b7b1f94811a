# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One accepted request: what it was asked, how far it is, and its single end."""
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional

import numpy as np

from nanovlm_ros.engine.ends import BY_ASKER, LATE, End
from nanovlm_ros.engine.sampler import Sampler
from nanovlm_ros.engine.structured import Constraint, JsonSchema
from nanovlm_ros.engine.text_stream import TextStream
from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.types import (
    ERROR, LENGTH, STOP, Answer, ErrorCode, ImageRef, JsonStatus, NanoVlmError, Query, TextChunk,
    Timings)

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
    def started(self) -> bool:
        """The request was taken up."""
        return 'queued' in self._request.seconds

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
    clock: Callable[[], float] = time.monotonic  # s
    accepted: float = field(init=False)
    canceled: bool = False
    done: bool = False
    conversation: Optional[List[Turn]] = None  # what it continues; None: it stands alone
    keep_rows: bool = True                     # its rows may serve later prompts
    prompt: Optional[Prompt] = None
    sequence: Optional[int] = None
    sampler: Optional[Sampler] = None
    stream: Optional[TextStream] = None
    constraint: Optional[Constraint] = None
    unfilled: int = 0         # rows of the prompt that were not run yet
    budget: int = 0           # tokens that may still be made
    next_token: int = -1      # sampled, not yet run
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: Dict[str, float] = field(default_factory=dict)
    # Guards the text and `done`: a watchdog may end a request while its step still runs.
    # Reentrant, for callbacks that do so themselves.
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _chunks: int = 0
    _unsent: str = ''
    _last_sent: float = float('-inf')

    def __post_init__(self):
        self.accepted = self.clock()

    @property
    def user_text(self) -> str:
        """The question as the model reads it."""
        prompt = self.query.prompt.strip()
        return f'{prompt} {self.schema.instruction()}' if self.schema else prompt

    @property
    def most_rows(self) -> int:
        """Rows of the KV cache that it may come to have."""
        assert self.prompt is not None, 'prepare() comes first'
        return self.prompt.n_tokens + self.completion_tokens + self.budget

    def due(self) -> Optional[End]:
        """Return how it must end now because it was canceled or is late, else None."""
        if self.canceled:
            return BY_ASKER
        return LATE if self.clock() >= self.query.deadline else None

    def prepare(self, model, conversation: List[Turn]) -> None:
        """Tokenise, and make what sampling needs. Raises CONTEXT_OVERFLOW."""
        query = self.query
        self.conversation = conversation if query.keep_history else None
        turns = [*(self.conversation or ()), Turn(self.user_text, query.frames)]
        shown = sum(len(turn.frames) for turn in turns)
        if shown > model.max_images:
            raise NanoVlmError(
                ErrorCode.INVALID_REQUEST,
                f'The conversation would have {shown} images, and this model takes at most '
                f'{model.max_images}; reset the conversation first.')
        prompt = model.tokenize(turns, query.system_prompt)
        tokens = prompt.n_tokens  # may raise for an odd image, and `_answer` asks for it, too
        self.prompt = prompt
        room = model.context_length - tokens
        if room < 1:
            raise NanoVlmError(
                ErrorCode.CONTEXT_OVERFLOW,
                f'The prompt takes {tokens} tokens and the context holds '
                f'{model.context_length}; ask with fewer or no images, a shorter prompt'
                + (', or reset the conversation.' if self.conversation else '.'))
        self.budget = min(query.config.max_new_tokens, room)
        self.sampler = Sampler(query.config, self.prompt.text_ids, model.vocab_size)
        self.stream = TextStream(model.tokenizer, query.config.stop + tuple(model.stop_strings))
        if self.schema is not None:
            self.constraint = self.schema.constraint(model.vocab_size)

    def take(self, token: int, stop_ids) -> Optional[str]:
        """Show the text of a sampled token; return the finish reason when it was the last.

        Raises MODEL_ERROR for NO_TOKEN.
        """
        assert self.sampler is not None and self.stream is not None, 'prepare() comes first'
        self.sampler.accept(token)
        self.budget -= 1
        if token in stop_ids:
            return STOP
        if self.constraint:
            self.constraint.accept(token)
        with self._lock:
            if self.done:  # ended from another thread, while the step ran
                return STOP
            self.completion_tokens += 1
            self.next_token = token
            self._show(self.stream.push(token))
        if self.stream.stopped or (self.constraint and self.constraint.complete):
            return STOP
        return LENGTH if self.budget <= 0 else None

    def allowed(self, stop_ids, vocab_size: int) -> Optional[np.ndarray]:
        """Tokens that may come next, bool (vocab_size,); None: all of them."""
        if self.constraint:
            return self.constraint.allowed()
        if self.completion_tokens >= self.query.config.min_new_tokens:
            return None
        allowed = np.ones(vocab_size, bool)
        allowed[[token for token in stop_ids if token < vocab_size]] = False
        return allowed

    def spend(self, stage: str, seconds: float) -> None:
        """Count the time of a step that this request took part in."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def finish(self, reason: str, code: ErrorCode = ErrorCode.NONE,
               message: str = '') -> Optional[Answer]:
        """Hand over the last chunk and the answer; return it from the one call that did.

        A good end is added to the conversation first, for the asker may ask again at once.
        """
        with self._lock:
            if self.done:
                return None
            self.done = True
            text = ''
            if self.stream is not None:
                self._unsent += self.stream.finish()
                text = self.stream.text
            if self._unsent:
                self.seconds.setdefault('first_token', self.clock() - self.accepted)
            answer = self._answer(reason, text, code, message)
            if self.conversation is not None and answer.finish_reason in (STOP, LENGTH):
                self.conversation.append(Turn(self.user_text, self.query.frames, text))
            self._call(self.on_chunk, TextChunk(
                self.query.request_id, self._chunks, self._unsent, True, text,
                answer.finish_reason))
            self._call(self.on_answer, answer)
            return answer

    def _show(self, delta: str) -> None:
        self._unsent += delta
        now = self.clock()
        if not self._unsent:
            return
        self.seconds.setdefault('first_token', now - self.accepted)
        if now - self._last_sent >= self.query.stream_period:
            chunk = TextChunk(self.query.request_id, self._chunks, self._unsent)
            self._chunks += 1
            self._unsent, self._last_sent = '', now
            self._call(self.on_chunk, chunk)

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
        now = self.clock()
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

    def _call(self, callback, argument) -> None:
        try:
            callback(argument)
        except Exception:  # the asker's fault must not reach the other requests
            LOG.exception('A callback of request %s failed.', self.query.request_id)
