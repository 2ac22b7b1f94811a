# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Who asks an executor and keeps what it sends, and a gate to hold its thread at."""
import threading
from itertools import count

from nanovlm_ros.types import GenerationConfig, Query

PATIENCE = 20  # s; only a hang takes so long


class Asker:
    """Submits queries and keeps every chunk and answer."""

    def __init__(self, executor):
        self.executor = executor
        self.ids = count()
        self.chunks, self.answers, self.ended = {}, {}, {}

    def submit(self, prompt='hello', *, live=False, **fields):
        config = GenerationConfig(**fields.pop('config', {}))
        name = str(next(self.ids))
        self.chunks[name], self.answers[name] = [], []
        self.ended[name] = threading.Event()

        def on_answer(answer):
            self.answers[name].append(answer)
            self.ended[name].set()

        query, on_chunk = Query(name, prompt, config=config, **fields), self.chunks[name].append
        if live:
            return self.executor.submit_tick([query], on_chunk, on_answer)[0]
        return self.executor.submit(query, on_chunk, on_answer)

    def wait(self, ticket):
        """Return the answer; check that there is one end, and that the stream is whole."""
        assert self.ended[ticket.request_id].wait(PATIENCE), 'the request never ended'
        answer, = self.answers[ticket.request_id]
        chunks = self.chunks[ticket.request_id]
        assert [c.sequence for c in chunks] == list(range(len(chunks)))
        assert ''.join(c.delta for c in chunks) == chunks[-1].text == answer.text
        assert [c.done for c in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].finish_reason == answer.finish_reason
        return answer

    def ask(self, prompt='hello', **fields):
        return self.wait(self.submit(prompt, **fields))


class Gate:
    """Holds the executor's thread in a stage until it is opened."""

    def __init__(self, stage):
        self.stage, self.reached, self.open = stage, threading.Event(), threading.Event()

    def __call__(self, stage):
        if stage == self.stage:
            self.reached.set()
            assert self.open.wait(PATIENCE)
