# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How answers are judged: exactly, and descriptions by the facts that they state."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from training.questions.asking import Turn

_COLUMN = r'(?:on the (left|right)|in the (center))'
_DOOR = re.compile(rf'\b(open|closed) (\w+) door {_COLUMN}')
_SIGN = re.compile(rf'\b(\w+) sign {_COLUMN}(?: that says ([A-Z0-9/ ]+))?')
_GROUP = re.compile(r'\b(\d+) (boxes|balls|cones|people)\b')
_ONE = re.compile(r'\ban? (\w+) (box|ball)\b')
_SHIRT = re.compile(r'\ba person in an? (\w+) shirt')


def facts_of(text: str) -> frozenset[tuple]:
    """The facts that a description states; an unparsable text states only itself."""
    facts: set[tuple] = set()
    facts |= {('door', s, c, a or b) for s, c, a, b in _DOOR.findall(text)}
    facts |= {('sign', c, a or b, t.strip()) for c, a, b, t in _SIGN.findall(text)}
    facts |= {('count', kind, n) for n, kind in _GROUP.findall(text)}
    facts |= {('one', kind, colour) for colour, kind in _ONE.findall(text)}
    facts |= {('person', colour) for colour in _SHIRT.findall(text)}
    if re.search(r'\ba cone\b', text):
        facts.add(('one', 'cone'))
    if 'floor is wet' in text:
        facts.add(('wet',))
    if 'there is a cable' in text.lower():
        facts.add(('cable',))
    if not facts:
        facts.add(('text', text.strip()))
    return frozenset(facts)


def right(turn: Turn, said: str) -> bool:
    """True when the answer is the right one (for descriptions: the same set of facts)."""
    if turn.skill == 'describe':
        return facts_of(said) == facts_of(turn.answer)
    return said.strip() == turn.answer


def change_kind(text: str) -> str:
    """The kind of change that an answer names."""
    for word in ('appeared', 'disappeared', 'moved', 'opened', 'closed', 'Nothing'):
        if re.search(rf'\b{word}\b', text):
            return word.lower()
    return 'other'


class Score:
    """Counts right answers by skill, and what was said instead."""

    TABLES = ('yes_no', 'count', 'colour', 'where', 'door', 'change')

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.good: Counter[str] = Counter()
        self.confusion: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self.wrong: list[tuple[str, str, str, str]] = []

    def add(self, turn: Turn, said: str) -> None:
        """Judges one answer."""
        ok = right(turn, said)
        keys = [turn.skill, 'all', 'unseen phrasing' if turn.unseen else 'seen phrasing']
        yes_no = turn.answer in ('Yes.', 'No.')
        keys += ['yes_no'] if yes_no else []
        for key in keys:
            self.asked[key] += 1
            self.good[key] += ok
        table = 'yes_no' if yes_no else turn.skill
        if table in self.TABLES:
            pair = (turn.answer, said) if table != 'change' else (change_kind(turn.answer),
                                                                  change_kind(said))
            self.confusion[table][pair] += 1
        if not ok:
            self.wrong.append((turn.skill, turn.question, turn.answer, said))

    def as_dict(self) -> dict:
        """Everything, ready for JSON."""
        return {'percent': {k: round(100 * self.good[k] / n, 2) for k, n in self.asked.items()},
                'asked': dict(self.asked),
                'confusion': {t: [[a, b, n] for (a, b), n in c.most_common()]
                              for t, c in self.confusion.items()},
                'wrong': self.wrong}


def table(confusion: list[list], most: int = 10) -> str:
    """A confusion table in Markdown: rows are right answers, columns are what was said."""
    cells = {(a, b): n for a, b, n in confusion}
    rows = [k for k, _ in Counter({a: sum(n for (x, _), n in cells.items() if x == a)
                                   for a, _ in cells}).most_common(most)]
    rows.sort()
    columns = rows + ['other']
    lines = ['| right \\ said | ' + ' | '.join(columns) + ' |', '|---' * (len(columns) + 1) + '|']
    for a in rows:
        counts = [cells.get((a, b), 0) for b in rows]
        total = sum(n for (x, _), n in cells.items() if x == a)
        lines.append(f'| {a} | ' + ' | '.join(map(str, (*counts, total - sum(counts)))) + ' |')
    return '\n'.join(lines)
