# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The vicuna_v1 prompt as token ids, chunk by chunk around the images."""

from __future__ import annotations

from functools import lru_cache

from tokenizers import Tokenizer

from training.tokenizer import BOS, EOS

SYSTEM = ('A chat between a curious user and an artificial intelligence assistant. The assistant '
          "gives helpful, detailed, and polite answers to the user's questions.")


class Prompter:
    """Encodes the parts of a prompt; every text chunk is encoded on its own."""

    def __init__(self, tokenizer: Tokenizer):
        self._encode = lru_cache(200_000)(
            lambda text: tuple(tokenizer.encode(text, add_special_tokens=False).ids))

    def encode(self, text: str) -> list[int]:
        """Ids of one chunk without BOS."""
        return list(self._encode(text))

    def head(self, system: str) -> tuple[list[int], int]:
        """Ids up to the first image, and how many of them a prompt without images shares."""
        if not system:
            return [BOS, *self.encode('USER: ')], 1
        return [BOS, *self.encode(system + ' USER: ')], 1 + len(self.encode(system))

    def between(self) -> list[int]:
        """Ids between two images."""
        return self.encode('\n')

    def question(self, text: str) -> list[int]:
        """Ids after the last image up to where the answer starts."""
        return self.encode(f'\n{text} ASSISTANT:')

    def later(self, text: str, spaced: bool = False) -> list[int]:
        """Ids of a later question, after the </s> of an answer, or of one without images."""
        return self.encode(f"{' ' if spaced else ''}USER: {text} ASSISTANT:")

    def answer(self, text: str) -> list[int]:
        """Ids of an answer with its </s>."""
        return [*self.encode(text), EOS]
