# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The vocabulary shared by every layer: frames, queries, answers, error codes.

Only numpy and the standard library: no ROS, no torch, no TVM. The ROS messages
of the same names mirror these classes field by field (see `ros/conversions.py`).
"""
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Callable, Optional, Tuple

import numpy as np


class ErrorCode(IntEnum):
    """Why a request failed; the numbers are part of the ROS interface."""

    NONE = 0
    INVALID_REQUEST = 1
    NO_IMAGE = 2
    STALE_IMAGE = 3
    BAD_IMAGE = 4
    QUEUE_FULL = 5
    TIMEOUT = 6
    CANCELED = 7
    CONTEXT_OVERFLOW = 8
    OUT_OF_MEMORY = 9
    BAD_SCHEMA = 10
    JSON_INVALID = 11
    NOT_READY = 12
    MODEL_ERROR = 13
    SHUTTING_DOWN = 14


class JsonStatus(IntEnum):
    """What became of a JSON schema; the numbers are part of the ROS interface."""

    NOT_REQUESTED = 0
    VALID = 1
    TRUNCATED = 2
    INVALID = 3


class ImageSource(IntEnum):
    """Where a query takes its images from; the numbers are part of the ROS interface."""

    NONE = 0
    LATEST = 1
    NEXT = 2
    WINDOW = 3
    INLINE = 4


STOP, LENGTH, CANCELED, TIMEOUT, ERROR = 'stop', 'length', 'canceled', 'timeout', 'error'
FINISH_REASONS = (STOP, LENGTH, CANCELED, TIMEOUT, ERROR)


class NanoVlmError(Exception):
    """A failure with its code; the text is a sentence that names the fix."""

    def __init__(self, code: ErrorCode, message: str):
        super().__init__(message)
        self.code = ErrorCode(code)
        self.message = message

    def __reduce__(self):
        return type(self), (self.code, self.message)  # for other processes


Progress = Callable[[str, int, int], None]  # stage, steps or bytes done, and in all

_frame_keys = count(1)


class Frame:
    """One camera image: a reference whose pixels are decoded once, and only if used.

    `decode` returns uint8 RGB of shape (height, width, 3) and may raise
    `NanoVlmError(BAD_IMAGE)`. `key` is unique in this process: caches use it.
    """

    def __init__(self, decode: Callable[[], np.ndarray], *, width: int, height: int,
                 stamp_ns: int = 0, arrived_ns: int = 0, frame_id: str = '', camera: str = ''):
        self._decode: Optional[Callable[[], np.ndarray]] = decode
        self._rgb: Optional[np.ndarray] = None
        self.broken = False  # decoding failed
        self.width = width
        self.height = height
        self.stamp_ns = stamp_ns
        self.arrived_ns = arrived_ns
        self.frame_id = frame_id
        self.camera = camera
        self.key = next(_frame_keys)

    @classmethod
    def from_rgb(cls, rgb: np.ndarray, **kwargs) -> 'Frame':
        """Wrap pixels at hand: uint8, (height, width, 3), RGB."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise NanoVlmError(
                ErrorCode.BAD_IMAGE,
                f'An RGB frame is a uint8 array of shape (height, width, 3); '
                f'got {rgb.dtype} {rgb.shape}.')
        return cls(lambda: rgb, width=rgb.shape[1], height=rgb.shape[0], **kwargs)

    @property
    def time_ns(self) -> int:
        """When it was taken, by its stamp; without one, when it arrived."""
        return self.stamp_ns or self.arrived_ns

    @property
    def format(self) -> Tuple[int, int, str]:
        """What the frames of one camera have in common: (width, height, frame_id)."""
        return self.width, self.height, self.frame_id

    @property
    def rgb(self) -> np.ndarray:
        """Pixels as uint8 RGB, (height, width, 3); read them on one thread at a time."""
        if self._rgb is None:
            assert self._decode is not None
            try:
                self._rgb = self._decode()
            except NanoVlmError:
                self.broken = True
                raise
            self._decode = None  # lets go of the encoded message
        return self._rgb


@dataclass(frozen=True)
class GenerationConfig:
    """How to sample; every value is concrete (defaults are filled in at the door)."""

    max_new_tokens: int = 128
    temperature: float = 0.0        # 0: greedy
    top_p: float = 1.0              # in (0, 1]
    repetition_penalty: float = 1.0  # > 0; 1: none. Keskar et al. 2019, arXiv:1909.05858
    seed: int = 0                   # the same seed gives the same text
    stop: Tuple[str, ...] = ()      # the text ends before the first of these
    # Stop tokens are not sampled before; stop strings and a JSON document end all the same. For
    # the command line and Python: a robot has no use for an answer that is longer than it is.
    min_new_tokens: int = 0


@dataclass(frozen=True)
class Query:
    """One question, ready for the engine: images chosen, defaults filled in."""

    request_id: str
    prompt: str
    frames: Tuple[Frame, ...] = ()      # in the order the model sees them
    image_ages: Tuple[float, ...] = ()  # s, one a frame, when the query was accepted
    generation: int = 0                 # of the rolling window that holds the frames; 0: none
    system_prompt: str = ''             # '': the template's own
    json_schema: str = ''               # '': free text
    keep_history: bool = False          # continue the conversation, and add to it
    deadline: float = float('inf')      # time.monotonic() seconds
    stream_period: float = 0.0          # s, least time between two chunks
    config: GenerationConfig = field(default_factory=GenerationConfig)


@dataclass(frozen=True)
class TextChunk:
    """A piece of an answer. `delta`s join to `text`; a gap in `sequence` is a loss."""

    request_id: str
    sequence: int
    delta: str
    done: bool = False
    text: str = ''            # complete, only when done
    finish_reason: str = ''   # only when done


@dataclass(frozen=True)
class ImageRef:
    """An image that the model saw."""

    stamp_ns: int
    frame_id: str
    camera: str
    width: int
    height: int
    age: float  # s, when the query was accepted


@dataclass(frozen=True)
class Timings:
    """Seconds spent on one request."""

    queued: float = 0.0       # accepted -> taken up by the executor
    preprocess: float = 0.0   # decoding and resizing images, tokenising, schema
    vision: float = 0.0       # vision tower and projector; 0 when cached
    prefill: float = 0.0
    decode: float = 0.0
    first_token: float = 0.0  # accepted -> first text
    total: float = 0.0        # accepted -> answer


@dataclass(frozen=True)
class Answer:
    """The end of a request: there is exactly one for each accepted query."""

    request_id: str
    prompt: str
    text: str = ''
    json: str = ''                       # the JSON document, when json_status is VALID
    json_status: JsonStatus = JsonStatus.NOT_REQUESTED
    finish_reason: str = ERROR
    images: Tuple[ImageRef, ...] = ()    # what the model saw, in order
    prompt_tokens: int = 0               # all of the prompt, images included
    image_tokens: int = 0
    cached_tokens: int = 0               # of prompt_tokens, taken from the KV cache
    completion_tokens: int = 0
    timings: Timings = field(default_factory=Timings)
    model: str = ''
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str = ''
