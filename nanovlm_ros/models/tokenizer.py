# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a checkpoint: text to ids and back, without surprises from users."""
from functools import cached_property
from pathlib import Path
from typing import FrozenSet, List, Sequence

from nanovlm_ros.models.checkpoint import read_json
from nanovlm_ros.models.sentencepiece_model import convert
from nanovlm_ros.models.weight_files import broken

SENTENCEPIECE = 'tokenizer.model'


class Tokenizer:
    """Wraps `tokenizer.json` of a language-model folder, or what its `tokenizer.model` becomes.

    Raises NanoVlmError(MODEL_ERROR), naming the file, when one is missing or broken.
    """

    def __init__(self, folder: Path):
        # What comes before a text, and before one that follows a control token.
        self._start = self._start_after_token = ''
        if (folder / 'tokenizer.json').is_file():
            self._backend = _read(folder / 'tokenizer.json')
        elif (folder / SENTENCEPIECE).is_file():
            self._backend = convert(folder / SENTENCEPIECE)
            self._start = ' '
            self._start_after_token = ' ' if _legacy(folder) else ''
        else:
            raise broken(f'{folder} has neither tokenizer.json nor {SENTENCEPIECE}: the tokenizer '
                         'is read from them. Copy the whole model folder.')
        _make_control_tokens_special(self._backend)
        # A control token that a user spells out is encoded as the text it is.
        self._backend.encode_special_tokens = True
        self.vocab_size: int = self._backend.get_vocab_size(with_added_tokens=True)
        self.stop_ids: FrozenSet[int] = _stop_ids(folder)

    def encode(self, text: str, after_token: bool = False) -> List[int]:
        """Ids of a piece of text; no control tokens are added or recognised.

        `after_token`: the text goes on behind a control token, with no image in between.
        """
        if not text:
            return []
        start = self._start_after_token if after_token else self._start
        return self._backend.encode(start + text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, control tokens left out; U+FFFD stands for incomplete UTF-8."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def has(self, text: str) -> bool:
        """Tell whether the vocabulary has a token of this text."""
        return self._backend.token_to_id(text) is not None

    def special(self, text: str) -> int:
        """Id of a control token."""
        token = self._backend.token_to_id(text)
        if token is None:
            raise broken(f'The vocabulary has no control token {text!r}, which the chat template '
                         'needs. The template does not belong to this model.')
        return token

    def llg(self):
        """Return the vocabulary as llguidance wants it, for constrained decoding."""
        return self._llg

    @cached_property
    def _llg(self):
        from llguidance import LLTokenizer

        return LLTokenizer(self._backend.to_str(), eos_token=min(self.stop_ids))


def _read(path: Path):
    from tokenizers import Tokenizer as Backend

    try:
        return Backend.from_str(path.read_text(encoding='utf-8'))
    except Exception as error:  # the backend raises bare Exceptions
        raise broken(f'{path} is not a tokenizer: {error}. It was cut short or damaged on the '
                     'way; get it again.') from error


def _legacy(folder: Path) -> bool:
    """Tell whether a text behind a control token got a space in front of it in training.

    So did transformers before 4.31, and later where tokenizer_config.json does not forbid it.
    """
    path = folder / 'tokenizer_config.json'
    return not path.is_file() or read_json(path).get('legacy') is not False


def _make_control_tokens_special(backend) -> None:
    """Some files have tokens such as <|im_start|> as text that anybody may write.

    Runs of spaces, which GPT-NeoX keeps the same way, are text.
    """
    added = backend.get_added_tokens_decoder().values()
    backend.add_special_tokens([
        token.content for token in added if not token.special and token.content.strip()])


def _stop_ids(folder: Path) -> FrozenSet[int]:
    for name in ('generation_config.json', 'config.json'):
        path = folder / name
        ids = read_json(path).get('eos_token_id') if path.is_file() else None
        if ids is not None:
            return frozenset(ids if isinstance(ids, list) else [ids])
    raise broken(f'{folder} names no eos_token_id in generation_config.json or config.json; '
                 'without it an answer has no end.')
