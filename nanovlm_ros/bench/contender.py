# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Language models that are timed beside each other: what each must do, and ours."""
from contextlib import contextmanager
from typing import ContextManager, Iterator, List, Protocol

import numpy as np

from nanovlm_ros.bench.samples import Clock, Run

STEPS = 32     # tokens that are decoded in one run, at most
LEAST_STEPS = 4
RUN_SECONDS = 1.0  # that a run of decoding should not take much more than


class Contender(Protocol):
    """A language model with random weights."""

    name: str

    def prefill(self, rows: int) -> ContextManager[Run]:
        """Give a run that fills an empty sequence with `rows` rows, up to the last's logits."""

    def decode(self, context: int) -> ContextManager[Run]:
        """Give a run that decodes after `context` rows; it returns the seconds of one token."""

    def close(self) -> None:
        """Give back the memory."""


def steps_of(seconds: float) -> int:
    """Return how many tokens a run decodes when one takes so long."""
    return min(STEPS, max(LEAST_STEPS, int(RUN_SECONDS / seconds)))


class Ours:
    """This engine's language model."""

    name = 'nanovlm'

    def __init__(self, llm, vocab: int):
        """`llm` is a `LanguageModel` of this thread, which knows `vocab` tokens."""
        self._llm, self._clock = llm, Clock(llm.device)
        self._random, self._vocab = np.random.default_rng(0), vocab

    def close(self) -> None:
        self._llm = None

    @contextmanager
    def prefill(self, rows: int) -> Iterator[Run]:
        text = self._llm.embed(self._tokens(rows))

        def run() -> float:
            sequence, fresh = self._llm.cache.add(), text.clone()  # they are overwritten
            try:
                return self._clock(lambda: self._llm.run([(sequence, rows)], fresh))
            finally:
                self._llm.cache.remove(sequence)
        yield run

    @contextmanager
    def decode(self, context: int, batch: int = 1, sample: bool = False) -> Iterator[Run]:
        """As `Contender` says, of `batch` sequences together.

        With `sample` the next tokens are the likeliest ones, which the host has to know first.
        """
        sequences = [self._fill(context) for _ in range(batch)]
        tokens = self._tokens(batch)
        try:
            def step() -> None:
                nonlocal tokens
                logits = self._llm.decode(list(zip(sequences, tokens)))
                if sample:
                    tokens = logits.argmax(-1).tolist()

            def steps() -> None:
                for _ in range(count):
                    step()

            def run() -> float:
                seconds = self._clock(steps) / count
                for sequence in sequences:
                    self._llm.cache.drop(sequence, context, self._llm.cache.length(sequence))
                return seconds
            count = 1
            run()  # the first one may be slow
            count = steps_of(run())
            yield run
        finally:
            for sequence in sequences:
                self._llm.cache.remove(sequence)

    @property
    def positions(self) -> int:
        """Rows that a sequence can have."""
        return self._llm.positions

    def most_rows(self, batch: int) -> int:
        """Return the most rows that each of `batch` sequences can hold while they decode."""
        return min(self._llm.cache.free // batch, self.positions) - STEPS

    def _fill(self, rows: int) -> int:
        sequence = self._llm.cache.add()
        self._llm.run([(sequence, rows)], self._llm.embed(self._tokens(rows)).clone())
        return sequence

    def _tokens(self, count: int) -> List[int]:
        return self._random.integers(0, self._vocab, count).tolist()
