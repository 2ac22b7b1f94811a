# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions that the picture does not answer, and prompts without a picture."""

from __future__ import annotations

from training.questions.asking import Asker, Turn, phrases
from training.questions.nouns import NEW_NOUNS, NOUNS, invented
from training.world.facts import UNKNOWN
from training.world.palette import COLOURS
from training.world.lettering import pick

NO_IMAGE = "I don't see an image."
_HELLO = 'Hello! Ask me about the image.'
_ABLE = 'I can describe the scene, count things, read signs and answer questions about the image.'

_NO_NOUN = phrases('outside exist')
_WHERE_NOUN = phrases('outside where')
_NUMBER_NOUN = phrases('outside count')
_UNKNOWN = phrases('unknown')
# Parts of questions that no picture of this world answers.
_PROPERTIES = phrases('properties (words)')
_DEEDS = phrases('deeds (words)')
_QUALITIES = phrases('qualities (words)')
_ORDERS = phrases('orders (words)')
_GRAMMAR = phrases('unknown by grammar')
_UNKNOWN_NEW = phrases('unknown, test only')
_PLACES = ('France', 'Germany', 'Italy', 'Spain', 'China', 'Japan', 'India', 'Brazil', 'Canada',
           'Kenya', 'Norway', 'Peru')
_LANGUAGES = ('French', 'German', 'Spanish', 'Chinese', 'Latin')
_HELLOS = phrases('hello')
_ABLES = phrases('able')
_BLIND = phrases('without image')


def _words(a: Asker) -> dict[str, str]:
    r = a.r

    def noun() -> str:
        if not a.train:
            return pick(r, NOUNS if r.random() < .5 else NEW_NOUNS)
        return pick(r, NOUNS) if r.random() < .6 else invented(r)

    place = pick(r, _PLACES) if not a.train or r.random() < .5 else invented(r).capitalize()
    order = pick(r, _ORDERS)
    return {
        'x': noun(), 'y': noun(), 'p': place, 'l': pick(r, _LANGUAGES), 'n': str(
            int(r.integers(2, 100))), 'q': pick(r, _PROPERTIES), 'd': pick(r, _DEEDS), 'j': pick(
                r, _QUALITIES), 'o': order, 'lo': order.lower(), 'c': pick(r, tuple(COLOURS))}


def _article(text: str) -> str:
    for v in 'aeiou':
        text = text.replace(f' a {v}', f' an {v}')
    return text


def outside_turn(a: Asker) -> Turn:
    """A question about something that this world does not have."""
    x, words = a.r.random(), _words(a)
    noun = words['x']
    if x < .25:
        t = a.turn('outside', _NO_NOUN, (), 'No.', 'yes_no', **words)
    elif x < .40:
        t = a.turn('outside', _WHERE_NOUN, (), f'There is no {noun}.', **words)
    elif x < .48:
        t = a.turn('outside', _NUMBER_NOUN, (), '0', 'number', **words)
    elif x < .93:
        t = a.turn('outside', _UNKNOWN if a.r.random() < .5 else _GRAMMAR, _UNKNOWN_NEW, UNKNOWN,
                   **words)
    elif x < .97:
        t = a.turn('outside', _ABLES, (), _ABLE)
    else:
        t = Turn('outside', pick(a.r, _HELLOS), _HELLO)
    return t._replace(question=_article(t.question), unseen=t.unseen
                      or noun in NEW_NOUNS and noun in t.question)


def blind_turn(a: Asker) -> Turn:
    """A prompt that comes without a picture."""
    x, words = a.r.random(), _words(a)
    if x < .55:
        t = a.turn('blind', _BLIND, (), NO_IMAGE, **words)
        return t._replace(question=_article(t.question))
    if x < .70:
        return a.turn('blind', _ABLES, (), _ABLE)
    if x < .82:
        return Turn('blind', pick(a.r, _HELLOS), _HELLO)
    return a.turn('blind', _UNKNOWN if a.r.random() < .5 else _GRAMMAR, _UNKNOWN_NEW, UNKNOWN,
                  **words)
