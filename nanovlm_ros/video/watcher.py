# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks every prompt about the newest frames of a video, as the node's live loop does."""
from queue import SimpleQueue
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.types import Answer, ErrorCode, Frame, GenerationConfig, NanoVlmError, Query
from nanovlm_ros.video.source import SECOND, Picture

NAME = 'video'  # of the one window


class Seen(NamedTuple):
    """An answer, and the time in the video of the newest frame that it is about."""

    ns: int
    answer: Answer


class Watcher:
    """A window of at most `frames` frames and what is asked about it.

    All prompts are asked together. A frame that is due while they are being answered joins the
    window, and the question about it is missed. For one thread.
    """

    def __init__(self, executor: MlcExecutor, prompts: Sequence[str], *, frames: int,
                 period: float, rolling: bool, json_schema: str, config: GenerationConfig):
        model = executor.model
        if frames > model.max_images:
            raise NanoVlmError(
                ErrorCode.INVALID_REQUEST,
                f'--max-images is {frames}, but {model.name} takes at most {model.max_images} '
                f'images in its context of {model.context_length} tokens; ask for fewer.')
        self._executor, self._rolling = executor, rolling
        self._window = FrameWindow(frames, period, 0 if rolling else None)
        self._prompts, self._schema, self._config = prompts, json_schema, config
        self._ended: 'SimpleQueue[Answer]' = SimpleQueue()
        self._asked: Dict[str, Tuple[int, int]] = {}  # number of the prompt and time, by request
        self._lines = [''] * len(prompts)
        self.missed = self.answered = self.failed = 0

    @property
    def lines(self) -> List[str]:
        """The prompts that have an answer, each with its newest one."""
        return [line for line in self._lines if line]

    def see(self, picture: Picture) -> None:
        """Let a picture join the window, and ask, if it is due. Raises as `submit_tick` does."""
        if not self._window.due(picture.ns):
            return
        height, width = picture.bgr.shape[:2]
        self._window.add(Frame(
            lambda: picture.bgr[..., ::-1].copy(), width=width, height=height,
            stamp_ns=picture.ns, camera=NAME))
        self._executor.watch(NAME, self._window.generations(), self._rolling)
        if self._asked:
            self.missed += 1
        else:
            self._ask(picture.ns)

    def answers(self, wait: bool) -> Iterator[Seen]:
        """Take the answers that have come; with `wait` all that were asked for, as they come."""
        while self._asked and (wait or not self._ended.empty()):
            answer = self._ended.get()
            number, ns = self._asked.pop(answer.request_id)
            said = answer.error_message or answer.json or answer.text
            self._lines[number] = f'{answer.prompt} {said}'
            self.answered += 1
            self.failed += answer.error_code != ErrorCode.NONE
            yield Seen(ns, answer)

    def _ask(self, ns: int) -> None:
        number, frames = self._window.generations()[0]
        ages = tuple((ns - frame.stamp_ns) / SECOND for frame in frames)
        asked = {f'{NAME}-{ns}-{i}': (i, ns) for i in range(len(self._prompts))}
        self._asked.update(asked)
        try:
            self._executor.submit_tick([
                Query(name, prompt, frames=frames, image_ages=ages,
                      generation=number if self._rolling else 0, json_schema=self._schema,
                      config=self._config)
                for name, prompt in zip(asked, self._prompts)], lambda chunk: None,
                self._ended.put)
        except NanoVlmError:
            self._asked.clear()
            raise
