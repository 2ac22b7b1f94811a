# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A model in a few lines of Python: load it, ask about images, read the answer as it grows."""
import json
import time
import weakref
from itertools import count
from os import PathLike
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Sequence, Union

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.request import Ticket
from nanovlm_ros.pictures import as_frame, names_picture
from nanovlm_ros.types import (
    Answer, ErrorCode, Frame, GenerationConfig, NanoVlmError, Query, TextChunk)

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Picture = Union[str, PathLike, Image, np.ndarray, Frame]
    Prompt = Union[str, Sequence[Picture]]


def load(model: str = '', *, max_sequences: int = 4, **options) -> 'Model':
    """Load a model: a folder, a name on the Hugging Face hub, or '' for the one that ships.

    `options` go to `engine.loader.load`: device, quantization, context_length, chat_template,
    progress and so on. Raises NanoVlmError with a sentence.
    """
    from nanovlm_ros.engine import loader

    return Model(lambda: loader.load(model, max_sequences=max_sequences, **options),
                 max_sequences=max_sequences)


class AnswerStream:
    """The chunks of one answer as they are made; to let go of it is to cancel it.

    Iterating ends with NanoVlmError where the answer does; not where it was canceled.
    """

    def __init__(self, model: 'Model', ticket: Ticket,
                 received: 'SimpleQueue[Union[TextChunk, Answer]]'):
        self._model: Optional[Model] = model  # which stays while its answer is read
        self._ticket, self._received = ticket, received
        self.answer: Optional[Answer] = None  # as soon as the last chunk was read

    def __iter__(self) -> Iterator[TextChunk]:
        return self

    def __next__(self) -> TextChunk:
        if self.answer is not None:
            raise StopIteration
        item = self._received.get()
        if isinstance(item, TextChunk):
            return item
        self.answer, self._model = item, None
        if item.error_code not in (ErrorCode.NONE, ErrorCode.CANCELED):
            raise NanoVlmError(item.error_code, item.error_message)
        raise StopIteration

    def cancel(self) -> None:
        """Ask for the end; the chunks that were made, and the answer, can still be read."""
        self._ticket.cancel()

    close = __del__ = cancel


class Model:
    """A loaded model with a thread of its own; close it, or use it in a `with`.

    It may be asked from several threads. The images of a prompt come before its texts, in
    order; `load` is called on the thread that runs it.
    """

    def __init__(self, load: Callable, max_sequences: int = 4):
        self._executor = MlcExecutor(load, max_sequences=max_sequences)
        self._numbers = count(1)
        # Also at the end of the process, which must not find the thread inside the model.
        self._finalizer = weakref.finalize(self, self._executor.shutdown)
        self._executor.start()
        loaded = self._executor.model
        self.name: str = loaded.name
        self.context_length: int = loaded.context_length  # tokens of prompt and answer
        # Of one question; older checkpoints of some families know a single one.
        self.max_images: int = getattr(loaded, 'max_images', 1)

    def generate(self, prompt: 'Prompt', *, json_schema: Union[str, dict] = '',
                 system_prompt: str = '', keep_history: bool = False,
                 max_new_tokens: int = 128, min_new_tokens: int = 0, temperature: float = 0.0,
                 top_p: float = 1.0, repetition_penalty: float = 1.0, seed: int = 0,
                 stop: Sequence[str] = (), timeout: Optional[float] = None) -> AnswerStream:
        """Ask, and return the answer as a stream of TextChunk.

        `prompt` is a question, or a list of images and texts: an image is a path, a PIL image,
        a uint8 RGB array (height, width, 3) or a Frame. With `json_schema` (a dict or text) the
        answer is JSON that it accepts. `keep_history` continues the conversation and adds to
        it; `reset` ends it. `timeout` is in seconds. Raises NanoVlmError at once for what
        cannot be asked.
        """
        frames, text = _parts(prompt)
        query = Query(
            f'python-{next(self._numbers)}', text, frames=frames, system_prompt=system_prompt,
            json_schema=json.dumps(json_schema) if isinstance(json_schema, dict) else json_schema,
            keep_history=keep_history,
            deadline=float('inf') if timeout is None else time.monotonic() + timeout,
            config=GenerationConfig(
                max_new_tokens=max_new_tokens, min_new_tokens=min_new_tokens,
                temperature=temperature, top_p=top_p, repetition_penalty=repetition_penalty,
                seed=seed, stop=tuple(stop)))
        return self.submit(query)

    def submit(self, query: Query) -> AnswerStream:
        """Ask in the engine's own words; raises as `generate` does."""
        received: 'SimpleQueue[Union[TextChunk, Answer]]' = SimpleQueue()
        ticket = self._executor.submit(query, received.put, received.put)
        return AnswerStream(self, ticket, received)

    def ask(self, prompt: 'Prompt', **options) -> Answer:
        """Return the whole answer; `options` and errors are those of `generate`.

        A JSON document that was cut short is no error: its `json_status` says so.
        """
        stream = self.generate(prompt, **options)
        for _ in stream:
            pass
        assert stream.answer is not None, 'a stream ends with its answer'
        return stream.answer

    def reset(self) -> None:
        """Forget the conversation and what is kept of earlier prompts."""
        self._executor.reset()

    def close(self) -> None:
        """End what runs and free the model. Harmless the second time."""
        self._finalizer()

    def __enter__(self) -> 'Model':
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _parts(prompt: 'Prompt'):
    """Return (frames, text) of a prompt."""
    if isinstance(prompt, str):
        return (), prompt
    if not isinstance(prompt, (list, tuple)):
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST, 'A prompt is a text or a list of images and texts; got '
            f'{type(prompt).__name__}.')
    frames, texts = [], []
    for part in prompt:
        if isinstance(part, str) and not names_picture(part):
            texts.append(part)
        else:
            frames.append(as_frame(part))
    return tuple(frames), '\n'.join(texts)
