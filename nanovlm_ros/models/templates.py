# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Chat templates, exactly as the families were trained.

What a user writes is only ever text: control tokens come from the template, so
that a prompt which spells `</s>` or `<image>` cannot end a turn or add an image.
"""
from dataclasses import dataclass
from typing import List, Sequence, Tuple, Union

from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import Frame


@dataclass(frozen=True)
class Special:
    """A control token, by its text in the vocabulary."""

    text: str


Piece = Union[str, Special, Frame]


@dataclass(frozen=True)
class Template:
    """The text around a conversation. An image is followed by `after_image`."""

    name: str
    system: str                      # used where a query brings none
    before_system: Tuple[Piece, ...]
    before_user: Tuple[Piece, ...]
    before_answer: Tuple[Piece, ...]
    answer_start: str                # between `before_answer` and an earlier answer
    after_answer: Tuple[Piece, ...]
    after_image: str = '\n'
    stop_strings: Tuple[str, ...] = ()

    def render(self, turns: Sequence[Turn], system: str = '') -> List[Piece]:
        """Return the conversation as text, control tokens and frames; texts are joined."""
        pieces: List[Piece] = [*self.before_system, system or self.system]
        for turn in turns:
            pieces += self.before_user
            for frame in turn.frames:
                pieces += [frame, self.after_image]
            pieces += [turn.user, *self.before_answer]
            if turn.assistant is not None:
                pieces += [self.answer_start + turn.assistant, *self.after_answer]
        return _join_texts(pieces)


def _join_texts(pieces: Sequence[Piece]) -> List[Piece]:
    joined: List[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


VICUNA_V1 = Template(
    name='vicuna_v1',
    system='A chat between a curious user and an artificial intelligence assistant. '
           "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    before_system=(Special('<s>'),),
    before_user=(' USER: ',),
    before_answer=(' ASSISTANT:',),
    answer_start=' ',
    after_answer=(Special('</s>'),),
)

TEMPLATES = {template.name: template for template in (VICUNA_V1,)}
