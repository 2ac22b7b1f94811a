# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How people ask: phrasings, some kept for the test, and the carelessness of typing."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.world.lettering import pick

_TAILS = (' in the image', ' in this picture', ' in the picture', ' in the scene', ' in this image',
          ' right now', ' now', ' here', ' in the camera image', ' in this frame')
_PLACED = re.compile(r' (in|on|at|here|there|it|now|from|between|first|last|frames?|images?)\b')

_LITTLE = ('the', 'a', 'is', 'there', 'are', 'do', 'you', 'any')
_HARMLESS = ('there', 'image', 'picture', 'color', 'where', 'what', 'which', 'describe', 'many',
             'count', 'visible', 'please', 'between', 'changed', 'frames', 'number', 'hazards',
             'written', 'locate')


@cache
def _sections() -> dict[str, tuple[str, ...]]:
    """The sections of phrases.txt by name."""
    found: dict[str, list[str]] = {}
    name = ''
    for line in (Path(__file__).parent / 'phrases.txt').read_text().splitlines():
        if line.startswith('['):
            name = line.strip('[]')
            found[name] = []
        elif name.endswith('(words)'):
            found[name] += line.split()
        elif line and not line.startswith('#'):
            # A lead-in may be empty, which the file writes as a dash.
            found[name].append('' if line == '-' else line)
    return {k: tuple(v) for k, v in found.items()}


def phrases(section: str) -> tuple[str, ...]:
    """A section of phrases.txt; KeyError names one that is not there."""
    return _sections()[section]


class Turn(NamedTuple):
    """One question with its answer; unseen marks a phrasing that training never shows."""

    skill: str
    question: str
    answer: str
    unseen: bool = False


class Asker:
    """Draws phrasings; a training asker never draws the ones kept for the test."""

    def __init__(self, r: np.random.Generator, train: bool):
        self.r = r
        self.train = train
        self.unseen = False

    def say(self, seen: tuple[str, ...], unseen: tuple[str, ...] = ()) -> str:
        """One phrasing; sets self.unseen."""
        self.unseen = bool(unseen) and not self.train and self.r.random() < .5
        return pick(self.r, unseen if self.unseen else seen)

    def careless(self, question: str, kind: str = '') -> str:
        """The question as somebody might type it. kind: yes_no, word, number or empty."""
        r, x = self.r, self.r.random()
        end = {
            'yes_no': (' Answer yes or no.', ' Yes or no?', ' Answer with yes or no.'), 'word': (
                ' Answer with one word.', ' One word.', ' Answer briefly.'), 'number': (
                    ' Answer with a number.', ' Answer with one number.')}.get(
                        kind, (' Answer briefly.', ' Be brief.'))
        if x < .10:
            question = question[0].lower() + question[1:]
            question = question.lower() if question.upper() != question else question
        elif x < .15 and question[-1] in '?.':
            question = question[:-1]
        elif x < .20 and question[-1] in '?.':
            question = question[:-1].lower()
        elif x < .24:
            question = 'Please ' + question[0].lower() + question[1:] if question[-1] == '.' \
                else question[:-1] + ', please?'
        elif x < .27:
            question = pick(r, ('Hey robot, ', 'Robot, ', 'Tell me: ', 'Quick question: ',
                                'Question: ', 'OK, ', 'So, ', 'Now, ', 'Excuse me, ',
                                'Please answer: ')) + question[0].lower() + question[1:]
        elif x < .30:
            question = pick(r, ('Look at the image. ', 'Look carefully. ', 'Look at the picture. ',
                                'This is what the camera sees. ', 'Here is an image. ')) + question
        if r.random() < .08 and question[-1] == '?' and not _PLACED.search(question):
            question = question[:-1] + pick(r, _TAILS) + '?'
        if r.random() < .03:
            question = self._mistyped(question)
        if end and r.random() < .10 and question[-1] in '?.':
            question += pick(r, end)
        return question

    def _mistyped(self, question: str) -> str:
        """The question with a little word left out or a harmless word spelt wrong."""
        words = question.split(' ')
        i = int(self.r.integers(len(words)))
        if words[i] in _LITTLE and len(words) > 3:
            return ' '.join(words[:i] + words[i + 1:])
        if words[i].lower() in _HARMLESS:
            k = int(self.r.integers(1, len(words[i])))
            words[i] = words[i][:k] + words[i][k + 1:]
        return ' '.join(words)

    def turn(self, skill: str, seen: tuple, unseen: tuple, answer: str, kind: str = '',
             **words: str) -> Turn:
        """A whole turn; words fill the {names} of the phrasing."""
        text = self.say(seen, unseen).format(**words)
        return Turn(skill, self.careless(text, kind), answer, self.unseen)
