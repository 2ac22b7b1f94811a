# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which engine answers: it can be sent to another process and started there."""
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, ContextManager, Mapping, Sequence

from nanovlm_ros.bag.questions import Question
from nanovlm_ros.mlc.shape import INT8
from nanovlm_ros.types import NanoVlmError

BLOCK = 1 << 20  # bytes of a file that are read at once
DEFAULTS = {'quantization': 'q4f16_1', 'activations': INT8, 'context_length': 0}


def no_progress() -> ContextManager:
    """Return a context that shows nothing of a build."""
    return nullcontext(lambda stage, done, total: None)


@dataclass(frozen=True)
class EngineSpec:
    """A model and how it is run; `options` go to `engine.loader.load`.

    `progress()` is a context that takes the stages of a build.
    """

    model: str = ''
    options: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    max_sequences: int = 4
    progress: Callable[[], ContextManager] = no_progress

    @property
    def in_flight(self) -> int:
        """Questions that are handed over at once: enough that the engine never waits."""
        return 4 * self.max_sequences

    def identity(self) -> dict:
        """Return what tells this engine's answers from another's, as JSON."""
        from nanovlm_ros.models.template_file import load_template

        checkpoint, files = self._checkpoint(), {}
        if self.options.get('mlc_weights'):
            files['mlc_weights'] = fingerprint(Path(self.options['mlc_weights']).expanduser())
        if self.options.get('chat_template'):
            files['chat_template'] = repr(load_template(self.options['chat_template']))
        return {'model': checkpoint.name, 'weights': fingerprint(checkpoint.path),
                **self.options, **files}

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

        return Tokenizer(self._checkpoint().llm_folder)

    def load(self):
        """Return the model; called on the executor's thread."""
        from nanovlm_ros.engine.loader import load

        with self.progress() as progress:
            return load(self.model, max_sequences=self.max_sequences, progress=progress,
                        **self.options)

    def start(self):
        """Return a running executor."""
        from nanovlm_ros.engine.executor import MlcExecutor

        executor = MlcExecutor(self.load, queue_size=self.in_flight,
                               max_sequences=self.max_sequences)
        executor.start()
        return executor

    def _checkpoint(self):
        from nanovlm_ros.engine.loader import open_checkpoint

        with self.progress() as progress:
            return open_checkpoint(
                self.model, progress=progress, **{name: self.options[name] for name in (
                    'revision', 'trust_pickle') if name in self.options})


def fingerprint(folder: Path) -> str:
    """Return a digest of every byte of a model folder; 0.6 s a GiB where files are cached."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        digest.update(f'{path.relative_to(folder)} {path.stat().st_size} '.encode())
        with path.open('rb') as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]
