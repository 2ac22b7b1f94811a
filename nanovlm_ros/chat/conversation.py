# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A conversation about pictures: which ones the next question brings, which ones it holds."""
from itertools import count
from typing import Callable, List, Optional

from nanovlm_ros.api import AnswerStream, Model
from nanovlm_ros.types import (
    LENGTH, STOP, Answer, ErrorCode, Frame, GenerationConfig, NanoVlmError, Query)


class Conversation:
    """Asks one question after the other; each sees the pictures and answers before it."""

    def __init__(self, model: Model, config: Callable[[], GenerationConfig], *,
                 system_prompt: str = '', json_schema: str = ''):
        self._model, self._config = model, config
        self._options = {'system_prompt': system_prompt, 'json_schema': json_schema}
        self._waiting: List[Frame] = []  # for the next question
        self._held = 0                   # pictures of the questions that were answered
        self._numbers = count(1)
        self._stream: Optional[AnswerStream] = None
        self._asking = self._stopped = False

    def show(self, frame: Frame) -> None:
        """Let the next question be about a picture, too. Raises BAD_IMAGE.

        Raises INVALID_REQUEST when the model takes no more of them.
        """
        frame.rgb  # decodes, so that it fails here and not in the question
        most = self._model.max_images
        if self._held + len(self._waiting) >= most:
            raise NanoVlmError(
                ErrorCode.INVALID_REQUEST,
                f'{frame.frame_id} is one picture too many: {self._model.name} takes '
                f'{"a single one" if most == 1 else f"at most {most}"}; empty the chat with '
                'reset before it.')
        self._waiting.append(frame)

    def ask(self, text: str, on_delta: Callable[[str], None]) -> Answer:
        """Return the answer; its text is handed to `on_delta` as it grows.

        Raises NanoVlmError where there is none. Then, and when it was stopped, the
        conversation is as before, and the pictures wait for the next question.
        """
        query = Query(f'chat-{next(self._numbers)}', text, frames=tuple(self._waiting),
                      keep_history=True, config=self._config(), **self._options)
        self._asking, self._stopped = True, False
        try:
            stream = self._stream = self._model.submit(query)
            if self._stopped:  # before there was a stream
                stream.cancel()
            for chunk in stream:
                on_delta(chunk.delta)
        finally:
            self._asking, self._stream = False, None
        answer = stream.answer
        assert answer is not None, 'a stream ends with its answer'
        if answer.finish_reason in (STOP, LENGTH):
            self._held += len(self._waiting)
            self._waiting = []
        return answer

    def stop(self) -> bool:
        """Stop the answer that is being made; False if there is none, or it was stopped.

        May be called from a signal handler.
        """
        if self._stopped or not self._asking:
            return False
        self._stopped = True
        if self._stream is not None:
            self._stream.cancel()
        return True

    def reset(self) -> None:
        """Forget pictures, questions and answers."""
        self._model.reset()
        self._waiting, self._held = [], 0
