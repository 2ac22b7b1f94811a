# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Chat templates, exactly as the families were trained.

What a user writes is only ever text: control tokens come from the template, so
that a prompt which spells `</s>` or `<image>` cannot end a turn or add an image.
"""
from dataclasses import dataclass, replace
from typing import Callable, List, Sequence, Tuple, Union

from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import Frame


@dataclass(frozen=True)
class Special:
    """A control token, by its text in the vocabulary."""

    text: str


@dataclass(frozen=True)
class Marker:
    """A control token if the vocabulary has one of this text, else the text."""

    text: str


Piece = Union[str, Special, Marker, Frame]


@dataclass(frozen=True)
class Template:
    """The text around a conversation. An image is followed by `after_image`."""

    name: str
    system: str                      # used where a query brings none
    before_system: Tuple[Piece, ...]
    after_system: Tuple[Piece, ...]
    before_user: Tuple[Piece, ...]
    before_answer: Tuple[Piece, ...]
    answer_start: str                # between `before_answer` and an earlier answer
    after_answer: Tuple[Piece, ...]
    after_image: str = '\n'
    stop_strings: Tuple[str, ...] = ()
    stop_tokens: Tuple[str, ...] = ()  # beside those that the checkpoint names

    def render(self, turns: Sequence[Turn], system: str = '',
               has_token: Callable[[str], bool] = lambda text: False) -> List[Piece]:
        """Return the conversation as text, control tokens and frames; texts are joined.

        `has_token` tells whether the vocabulary has a token of a text.
        """
        pieces: List[Piece] = [*self.before_system, system or self.system, *self.after_system]
        for turn in turns:
            pieces += self.before_user
            for frame in turn.frames:
                pieces += [frame, self.after_image]
            pieces += [turn.user, *self.before_answer]
            if turn.assistant is not None:
                pieces += [self.answer_start + turn.assistant, *self.after_answer]
        return _join_texts([_settle(piece, has_token) for piece in pieces])


def _settle(piece: Piece, has_token: Callable[[str], bool]) -> Piece:
    if isinstance(piece, Marker):
        return Special(piece.text) if has_token(piece.text) else piece.text
    return piece


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
    after_system=(' ',),
    before_user=('USER: ',),
    before_answer=(' ASSISTANT:',),
    answer_start=' ',
    after_answer=(Special('</s>'),),
)

# As VILA's own evaluation asks about three images and more: without the system text.
VICUNA_V1_NOSYS = replace(VICUNA_V1, name='vicuna_v1_nosys', system='')


def _header(role: str) -> Tuple[Piece, ...]:
    return (Special('<|start_header_id|>'), role, Special('<|end_header_id|>'), '\n\n')


LLAMA_3 = Template(
    name='llama_3',
    system='You are a helpful language and vision assistant. You are able to understand the '
           'visual content that the user provides, and assist the user with a variety of tasks '
           'using natural language.',
    before_system=(Special('<|begin_of_text|>'), *_header('system')),
    after_system=(Special('<|eot_id|>'),),
    before_user=_header('user'),
    before_answer=(Special('<|eot_id|>'), *_header('assistant')),
    answer_start='',
    after_answer=(Special('<|eot_id|>'),),
    stop_tokens=('<|eot_id|>', '<|end_of_text|>'),
)

OBSIDIAN = Template(
    name='obsidian',
    system='A conversation between a user and an LLM-based AI assistant name StableCapybara. '
           'The assistant gives helpful and honest answers.',
    before_system=(Marker('<|im_start|>'), 'system\n'),
    after_system=('###',),
    before_user=(Marker('<|im_start|>'), 'user\n: '),
    before_answer=('###', Marker('<|im_start|>'), 'assistant\n:'),
    answer_start=' ',
    after_answer=('###',),
    stop_strings=('###',),
)

TEMPLATES = {template.name: template
             for template in (VICUNA_V1, VICUNA_V1_NOSYS, LLAMA_3, OBSIDIAN)}


def choose_template(model_type: str, has_token: Callable[[str], bool]) -> Template:
    """Return the template that a language model was trained with, by its kind and vocabulary."""
    if 'stablelm' in model_type:
        return OBSIDIAN
    return LLAMA_3 if has_token('<|start_header_id|>') else VICUNA_V1
