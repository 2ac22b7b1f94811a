# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a checkpoint: text to ids and back, without surprises from users."""
import json
from functools import cached_property
from pathlib import Path
from typing import FrozenSet, List, Sequence

from nanovlm_ros.types import ErrorCode, NanoVlmError


class Tokenizer:
    """Wraps `tokenizer.json` of a language-model folder.

    Raises NanoVlmError(MODEL_ERROR), naming the file, when one is missing or broken.
    """

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer as Backend

        path = folder / 'tokenizer.json'
        if not path.is_file():
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'{path} is missing: the tokenizer is read from it. Copy the whole model '
                'folder, or write it with `AutoTokenizer.from_pretrained(...)'
                '.save_pretrained(...)`.')
        self._json = path.read_text(encoding='utf-8')
        try:
            self._backend = Backend.from_str(self._json)
        except Exception as error:  # the backend raises bare Exceptions
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR, f'{path} is not a tokenizer: {error}') from error
        # A control token that a user spells out is encoded as the text it is.
        self._backend.encode_special_tokens = True
        self.vocab_size: int = self._backend.get_vocab_size(with_added_tokens=True)
        self.stop_ids: FrozenSet[int] = self._read_stop_ids(folder)

    def _read_stop_ids(self, folder: Path) -> FrozenSet[int]:
        for name in ('generation_config.json', 'config.json'):
            path = folder / name
            ids = json.loads(path.read_text()).get('eos_token_id') if path.is_file() else None
            if ids is not None:
                return frozenset(ids if isinstance(ids, list) else [ids])
        raise NanoVlmError(
            ErrorCode.MODEL_ERROR,
            f'{folder} names no eos_token_id in generation_config.json or config.json; '
            'without it an answer has no end.')

    def encode(self, text: str) -> List[int]:
        """Ids of a piece of text; no control tokens are added or recognised."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, control tokens left out; U+FFFD stands for incomplete UTF-8."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def special(self, text: str) -> int:
        """Id of a control token."""
        token = self._backend.token_to_id(text)
        if token is None:
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR,
                f'The vocabulary has no control token {text!r}, which the chat template needs. '
                'The template does not belong to this model.')
        return token

    def llg(self):
        """Return the vocabulary as llguidance wants it, for constrained decoding."""
        return self._llg

    @cached_property
    def _llg(self):
        from llguidance import LLTokenizer

        return LLTokenizer(self._json, eos_token=min(self.stop_ids))
