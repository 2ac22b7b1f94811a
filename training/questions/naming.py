# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What things are called in questions."""

from __future__ import annotations

from training.questions.asking import Asker
from training.world import facts as F
from training.world import palette as P
from training.world.lettering import pick
from training.world.scene import Scene

NAMES = {
    'box': ('box', 'boxes'), 'ball': ('ball', 'balls'), 'cone': ('cone', 'cones'), 'person': (
        'person', 'people')}
COLOURS_OF = {'box': P.BOX_COLOURS, 'ball': P.BALL_COLOURS}


def any_name(a: Asker, scene: Scene) -> tuple[str, str]:
    """A thing to ask about, singular and plural, half of the time one that is there."""
    r = a.r
    if scene.things and r.random() < .55:
        t = pick(r, scene.things)
        kind, colour = t.kind, t.colour
    else:
        kind = pick(r, P.KINDS)
        colour = pick(r, COLOURS_OF.get(kind, ('',)))
    one, many = NAMES[kind]
    if kind in COLOURS_OF and r.random() < .45:
        return f'{colour} {one}', f'{colour} {many}'
    if kind == 'cone' and r.random() < .2:
        return 'traffic cone', 'traffic cones'
    return one, many


def count_of(scene: Scene, name: str) -> int:
    words = name.split()
    colour = words[0] if words[0] in P.COLOURS else None
    return len(F.things(scene, words[-1], colour))


def with_article(text: str) -> str:
    """Corrects the article before a vowel."""
    for v in 'aeiou':
        text = text.replace(f' a {v}', f' an {v}')
    return text


def coloured(a: Asker, scene: Scene) -> tuple[str, str | None]:
    """The name of a thing and its colour; (name, None) when there is no such thing."""
    options = []
    for kind in ('box', 'ball', 'person'):
        found = F.things(scene, kind)
        if len(found) == 1:
            name = "person's shirt" if kind == 'person' else kind
            options += [(name, found[0].colour)] * 2
            if kind == 'person' and a.r.random() < .5:
                options.append((pick(
                    a.r, ('shirt', "person's shirt", 'shirt of the person')), found[0].colour))
    if scene.door:
        options.append(('door', scene.door.colour))
    if len(scene.signs) == 1:
        options.append(('sign', scene.signs[0].colour))
    if options and a.r.random() < .88:
        return pick(a.r, options)
    absent = [k for k in ('box', 'ball') if not F.things(scene, k)]
    absent += [] if scene.door else ['door']
    absent += [] if scene.signs else ['sign']
    return (pick(a.r, absent), None) if absent else ('', None)
