# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions about one picture, a function for each skill."""

from __future__ import annotations

from training.questions.asking import Asker, Turn, phrases
from training.questions.naming import COLOURS_OF, any_name, coloured, count_of
from training.world import facts as F
from training.world import palette as P
from training.world.lettering import pick
from training.world.scene import Scene

_COUNT = phrases('count')
_COUNT_NEW = phrases('count, test only')
_COLOUR = phrases('colour')
_COLOUR_NEW = phrases('colour, test only')
_WHERE = phrases('where')
_WHERE_NEW = phrases('where, test only')
_READ = phrases('read')
_READ_NEW = phrases('read, test only')
_READ_ONE = phrases('read one of several')
_READ_ONE_NEW = phrases('read one of several, test only')
_DOOR = phrases('door')
_DOOR_NEW = phrases('door, test only')
_HAZARD = phrases('hazards')
_HAZARD_NEW = phrases('hazards, test only')
_DESCRIBE = phrases('describe')
_DESCRIBE_NEW = phrases('describe, test only')


def count(a: Asker, scene: Scene) -> Turn | None:
    """How many X are there?"""
    x = a.r.random()
    if x < .05:
        name, plural, n = 'sign', 'signs', len(scene.signs)
    elif x < .09:
        name, plural, n = 'door', 'doors', int(scene.door is not None)
    elif x < .13:
        name, plural, n = 'person', 'persons', len(F.things(scene, 'person'))
    elif x < .18:
        name, plural, n = 'thing', 'objects', len(scene.things)
        seen = ('How many boxes, balls, cones and people are there in total?',)
        return a.turn('count', seen, (), str(n), 'number')
    else:
        for _ in range(3):
            name, plural = any_name(a, scene)
            n = count_of(scene, name)
            if n > 1 or a.r.random() < .35:
                break
    return a.turn('count', _COUNT, _COUNT_NEW, str(n), 'number', xs=plural)


def colour(a: Asker, scene: Scene) -> Turn | None:
    """What colour is X?"""
    by_place = [
        t for t in scene.things if t.kind in ('box', 'ball') and len(F.things(scene, t.kind)) > 1
        and len(F.things(scene, t.kind, column=t.column)) == 1]
    if by_place and a.r.random() < .3:
        t = pick(a.r, by_place)
        name, value = f'{t.kind} {F.place(t.column)}', t.colour
    else:
        name, value = coloured(a, scene)
    if not name:
        return None
    answer = f'{value.capitalize()}.' if value else f'There is no {name}.'
    return a.turn('colour', _COLOUR, _COLOUR_NEW, answer, 'word', x=name)


def where(a: Asker, scene: Scene) -> Turn | None:
    """Where is X?"""
    options: list[tuple[str, str, bool]] = []
    if scene.door:
        options.append(('door', scene.door.column, False))
    if len(scene.signs) == 1:
        options.append(('sign', scene.signs[0].column, False))
    for h in scene.hazards:
        options.append((h.kind, h.column, h.near))
    for t in scene.things:
        same = F.things(scene, t.kind)
        if len(same) == 1:
            options.append((t.kind, t.column, t.near))
        if t.kind in COLOURS_OF and len(F.things(scene, t.kind, t.colour)) == 1:
            options.append((F.noun(t), t.column, t.near))
        if t.kind == 'person' and len(F.things(scene, 'person', t.colour)) == 1:
            options.append((f'person in the {t.colour} shirt', t.column, t.near))
    if options and a.r.random() < .88:
        name, column, near = pick(a.r, options)
        answer = F.where(column, near)
    else:
        kind = pick(a.r, P.KINDS + ('door', 'sign', 'puddle', 'cable'))
        name = f'{pick(a.r, COLOURS_OF[kind])} {kind}' if kind in COLOURS_OF and a.r.random(
        ) < .5 else kind
        if any(o[0].split()[-1] == name or o[0] == name for o in options) or count_of(scene, name) \
                or (kind == 'sign' and scene.signs):
            return None
        answer = f'There is no {name}.'
    return a.turn('where', _WHERE, _WHERE_NEW, answer, x=name)


def read(a: Asker, scene: Scene) -> Turn | None:
    """What does the sign say?"""
    if len(scene.signs) > 1 and a.r.random() < .6:
        s = pick(a.r, scene.signs)
        name = pick(a.r, (f'sign {F.place(s.column)}', f'{s.colour} sign'))
        if name.endswith('center'):
            name = pick(a.r, (name, 'sign in the middle'))
        answer = s.text if s.legible else F.UNKNOWN
        return a.turn('read', _READ_ONE, _READ_ONE_NEW, answer, s=name)
    if len(scene.signs) == 1 and a.r.random() < .1:
        name = f'{scene.signs[0].colour} sign'
        answer = scene.signs[0].text if scene.signs[0].legible else F.UNKNOWN
        return a.turn('read', _READ_ONE, _READ_ONE_NEW, answer, s=name)
    answer = 'There is no sign.'
    if scene.signs:
        answer = F.sign_text(scene) if F.legible(scene) else F.UNKNOWN
    return a.turn('read', _READ, _READ_NEW, answer)


def door(a: Asker, scene: Scene) -> Turn | None:
    """Is the door open or closed?"""
    if scene.door is None:
        if a.r.random() < .6:
            return None
        answer = 'There is no door.'
    else:
        answer = 'Open.' if scene.door.open else 'Closed.'
    return a.turn('door', _DOOR, _DOOR_NEW, answer, 'word')


def hazards(a: Asker, scene: Scene) -> Turn | None:
    """Which hazards are there?"""
    text = ', '.join(F.hazard_list(scene)) or 'none'
    return a.turn('hazard', _HAZARD, _HAZARD_NEW, text[0].upper() + text[1:] + '.')


def describe(a: Asker, scene: Scene) -> Turn | None:
    """Describe the scene."""
    return a.turn('describe', _DESCRIBE, _DESCRIBE_NEW, F.description(scene))
