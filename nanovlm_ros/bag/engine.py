# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which engine answers: it can be sent to another process and started there."""
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ContextManager, Sequence

from nanovlm_ros.bag.questions import Question
from nanovlm_ros.types import NanoVlmError

BLOCK = 1 << 20  # bytes of a file that are read at once


def no_progress() -> ContextManager:
    """Return a context that shows nothing of a build."""
    return nullcontext(lambda stage, done, total: None)


@dataclass(frozen=True)
class EngineSpec:
    """A model and how it is run. `progress()` is a context that takes the stages of a build."""

    model: str = ''
    quantization: str = 'q4f16_1'
    context_length: int = 0
    max_sequences: int = 4
    progress: Callable[[], ContextManager] = no_progress

    @property
    def in_flight(self) -> int:
        """Questions that are handed over at once: enough that the engine never waits."""
        return 4 * self.max_sequences

    def identity(self) -> dict:
        """Return what tells this engine's answers from another's, as JSON."""
        checkpoint = self._checkpoint()
        return {'model': checkpoint.name, 'weights': fingerprint(checkpoint.folder('llm').parent),
                'quantization': self.quantization, 'context_length': self.context_length}

    def check(self, questions: Sequence[Question]) -> None:
        """Compile every schema. Raises BAD_SCHEMA with the question's id."""
        from nanovlm_ros.engine.structured import compile_schema

        asked = [question for question in questions if question.json_schema is not None]
        if not asked:
            return
        tokenizer = self.tokenizer()
        for question in asked:
            try:
                compile_schema(question.schema_text, tokenizer)
            except NanoVlmError as error:
                raise NanoVlmError(error.code, f'Question {question.id!r}: {error.message}'
                                   ) from error

    def tokenizer(self):
        """Return the tokenizer that schemas are compiled for."""
        from nanovlm_ros.models.tokenizer import Tokenizer

        return Tokenizer(self._checkpoint().folder('llm'))

    def load(self):
        """Return the model; called on the executor's thread."""
        from nanovlm_ros.engine.loader import load

        with self.progress() as progress:
            return load(self.model, quantization=self.quantization,
                        context_length=self.context_length, max_sequences=self.max_sequences,
                        progress=progress)

    def start(self):
        """Return a running executor."""
        from nanovlm_ros.engine.executor import MlcExecutor

        executor = MlcExecutor(self.load, queue_size=self.in_flight,
                               max_sequences=self.max_sequences)
        executor.start()
        return executor

    def _checkpoint(self):
        from nanovlm_ros.engine.loader import resolve
        from nanovlm_ros.models.checkpoint import open_checkpoint

        return open_checkpoint(resolve(self.model))


def fingerprint(folder: Path) -> str:
    """Return a digest of every byte of a model folder; 0.6 s a GiB where files are cached."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        digest.update(f'{path.relative_to(folder)} {path.stat().st_size} '.encode())
        with path.open('rb') as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]
