# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions that take yes or no."""

from __future__ import annotations

from training.questions.asking import Asker, Turn, phrases
from training.questions.naming import NAMES, any_name, coloured, count_of, with_article
from training.world import facts as F
from training.world import palette as P
from training.world.lettering import pick
from training.world.scene import Scene

_EXIST = phrases('exist')
_EXIST_NEW = phrases('exist, test only')


def exist(a: Asker, scene: Scene) -> Turn | None:
    """Is X there? Half of the answers are yes."""
    want, name, plural, value = a.r.random() < .5, '', '', False
    for _ in range(8):
        x = a.r.random()
        if x < .08:
            name, plural, value = 'puddle', 'puddles', F.hazard(scene, 'puddle') is not None
        elif x < .14:
            name, plural, value = 'cable', 'cables', F.hazard(scene, 'cable') is not None
        elif x < .20:
            name, plural, value = 'door', 'doors', scene.door is not None
        elif x < .27:
            name, plural, value = 'sign', 'signs', bool(scene.signs)
        elif x < .33:
            name = pick(a.r, P.WALL_KINDS)
            plural = {'window': 'windows', 'picture': 'pictures', 'shelf': 'shelves'}[name]
            value = any(k == name for k, _, _ in scene.wall)
            if value and scene.things:
                continue   # it might be hidden
        else:
            name, plural = any_name(a, scene)
            value = count_of(scene, name) > 0
        if value == want:
            break
    t = a.turn('exist', _EXIST, _EXIST_NEW, F.yes_no(value), 'yes_no', x=name, xs=plural)
    return t._replace(question=with_article(t.question))


def yes_no(a: Asker, scene: Scene) -> Turn | None:
    """Other questions that take yes or no."""
    r = a.r
    kind = pick(r, ('anyone', 'wet', 'clear', 'open', 'closed', 'side', 'thing', 'many', 'colour',
                    'says', 'hazard', 'open', 'clear'))
    if kind == 'anyone':
        seen = ('Is anyone there?', 'Is somebody there?', 'Is there anyone in the room?',
                'Do you see anyone?', 'Is someone in front of you?',
                'Are there people in the room?')
        return a.turn('exist', seen, ('Is there anyone in the image?', 'Do you see somebody?'),
                      F.yes_no(bool(F.things(scene, 'person'))), 'yes_no')
    if kind == 'wet':
        seen = ('Is the floor wet?', 'Is there water on the floor?',
                'Do you see water on the floor?', 'Is there a puddle on the floor?',
                'Is the floor dry?')
        t = a.turn('exist', seen, ('Is there any water on the floor?',),
                   F.yes_no(F.hazard(scene, 'puddle') is not None), 'yes_no')
        if 'dry' in t.question:
            t = t._replace(answer=F.yes_no(F.hazard(scene, 'puddle') is None))
        return t
    if kind == 'clear':
        if scene.outside:
            return None
        seen = ('Is the way clear?', 'Is the path clear?', 'Is the way ahead clear?',
                'Can I drive on?', 'Can the robot drive straight ahead?', 'Is the path ahead free?',
                'Is the way free?')
        return a.turn('exist', seen, ('Is the path free?', 'Is the path ahead clear?'),
                      F.yes_no(F.way_clear(scene)), 'yes_no')
    if kind in ('open', 'closed'):
        if scene.door is None and r.random() < .8:
            return None
        value = scene.door is not None and scene.door.open == (kind == 'open')
        seen = ('Is the door {s}?', 'Is the door {s} now?', 'Do you see {an} {s} door?',
                'Is there {an} {s} door?', 'Is that door {s}?')
        return a.turn('door', seen,
                      ('Is the door {s} in this picture?', 'Can you see {an} {s} door?'),
                      F.yes_no(value), 'yes_no', s=kind, an='an' if kind == 'open' else 'a')
    if kind == 'side':
        thing = pick(r, scene.things) if scene.things else None
        name = F.noun(thing) if thing and r.random() < .7 else pick(r, P.KINDS)
        column = thing.column if thing and r.random() < .6 else pick(r, P.COLUMNS)
        words = name.split()
        value = bool(F.things(scene, words[-1], words[0] if len(words) > 1 else None, column))
        seen = ('Is there a {x} {p}?', 'Do you see a {x} {p}?', 'Is a {x} {p}?')
        t = a.turn('exist', seen, ('Can you see a {x} {p}?',), F.yes_no(value), 'yes_no', x=name,
                   p=F.place(column))
        return t._replace(question=with_article(t.question))
    if kind == 'thing':
        seen = ('Is there anything on the floor?', 'Is there something in the room?')
        value = bool(scene.things or scene.hazards)
        return a.turn('exist', seen[:1], (), F.yes_no(value), 'yes_no')
    if kind == 'many':
        k = pick(r, P.KINDS)
        n, least = len(F.things(scene, k)), int(r.integers(1, 4))
        seen = ('Is there more than one {x}?', 'Are there at least {n} {xs}?',
                'Are there {n} {xs}?', 'Do you see more than one {x}?')
        t = a.turn('exist', seen, (), '', 'yes_no', x=NAMES[k][0], xs=NAMES[k][1], n=str(least + 1))
        text = t.question.lower()
        value = n > 1 if 'more' in text else n > least if 'least' in text else n == least + 1
        return t._replace(answer=F.yes_no(value))
    if kind == 'colour':
        name, colour = coloured(a, scene)
        if colour is None:
            return None
        other = colour if r.random() < .5 else pick(r, P.BALL_COLOURS)
        return a.turn('colour',
                      ('Is the {x} {c}?', 'Is the color of the {x} {c}?', 'Is that {x} {c}?'), (),
                      F.yes_no(colour == other), 'yes_no', x=name, c=other)
    if kind == 'says':
        if len(scene.signs) != 1 or not scene.signs[0].legible:
            return None
        first = scene.signs[0].text.split()[0]
        word = first if r.random() < .5 else pick(r, P.SIGN_WORDS + P.NUMBERED_WORDS)
        value = word in scene.signs[0].text.split()
        return a.turn(
            'read', ('Does the sign say {w}?', 'Is the word {w} on the sign?', 'Does it say {w}?'),
            (), F.yes_no(value), '', w=word)
    seen = ('Is there a hazard?', 'Are there any hazards?', 'Is there any danger?',
            'Do you see a hazard?', 'Is there a hazard on the floor?')
    return a.turn('hazard', seen, ('Do you see any hazards?', 'Is there any hazard?'),
                  F.yes_no(bool(F.hazard_list(scene))), 'yes_no')
