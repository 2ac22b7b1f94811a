# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The package's own engine for `training.evaluate --engine training.engine:answer`."""
import json
import threading
from functools import lru_cache

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.loader import load
from nanovlm_ros.types import Frame, Query


@lru_cache(maxsize=1)
def _executor() -> MlcExecutor:
    executor = MlcExecutor(load)
    executor.start()
    return executor


def answer(images, question: str, schema) -> str:
    """Answer about images (RGB uint8 arrays), greedily; with a schema (a dict), in its JSON.

    The engine takes no empty question: `Report.` stands for one beside a schema.
    """
    ended, answers = threading.Event(), []

    def on_answer(ended_with) -> None:
        answers.append(ended_with)
        ended.set()

    _executor().submit(
        Query('evaluate', question.strip() or 'Report.', frames=tuple(map(Frame.from_rgb, images)),
              json_schema=json.dumps(schema) if schema else ''),
        lambda chunk: None, on_answer)
    ended.wait()
    if answers[0].error_message:
        raise RuntimeError(answers[0].error_message)
    return answers[0].text
