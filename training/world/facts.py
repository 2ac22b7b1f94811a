# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is true in a scene, and the sentences that say so."""

from __future__ import annotations

from training.world import palette as P
from training.world.scene import Scene, Thing

UNKNOWN = "I don't know."


def yes_no(value: bool) -> str:
    """The answer to a yes/no question."""
    return 'Yes.' if value else 'No.'


def things(scene: Scene, kind: str, colour: str | None = None, column: str | None = None,
           near: bool | None = None) -> list[Thing]:
    """The things that match every given attribute."""
    return [t for t in scene.things if t.kind == kind and colour in (None, t.colour)
            and column in (None, t.column) and near in (None, t.near)]


def hazard(scene: Scene, kind: str) -> Thing | None:
    """The puddle or cable, if there is one."""
    return next((h for h in scene.hazards if h.kind == kind), None)


def hazard_list(scene: Scene) -> list[str]:
    """Names of the hazards, in a fixed order."""
    found = [(hazard(scene, 'puddle'), 'wet floor'), (hazard(scene, 'cable'), 'cable'),
             (things(scene, 'cone'), 'cone')]
    return [name for present, name in found if present]


def way_clear(scene: Scene) -> bool:
    """True when nothing is near in the center."""
    return not any(t.near and t.column == 'center' for t in scene.things + scene.hazards)


def article(noun: str) -> str:
    """The noun with a or an."""
    return ('an ' if noun[0] in 'aeiou' else 'a ') + noun


def noun(thing: Thing) -> str:
    """What the thing is called: person, cone, or colour and kind."""
    return thing.kind if thing.kind in ('person', 'cone') else f'{thing.colour} {thing.kind}'


def place(column: str) -> str:
    """on the left, in the center, on the right."""
    return 'in the center' if column == 'center' else f'on the {column}'


def where(column: str, near: bool) -> str:
    """The answer to where something is."""
    text = f"{place(column)}, {'near' if near else 'far'}."
    return text[0].upper() + text[1:]


def sign_text(scene: Scene) -> str:
    """The text on all signs, left to right; empty without signs."""
    return ', '.join(s.text for s in scene.signs)


def legible(scene: Scene) -> bool:
    """True unless some sign cannot be read."""
    return all(s.legible for s in scene.signs)


def description(scene: Scene) -> str:
    """One or two sentences that name everything that counts."""
    if scene.outside:
        return UNKNOWN
    items = []
    if scene.door:
        d = scene.door
        items.append(f"{'an open' if d.open else 'a closed'} {d.colour} door {place(d.column)}")
    for s in scene.signs:
        says = f' that says {s.text}' if s.legible else ''
        items.append(f'{article(s.colour)} sign {place(s.column)}{says}')
    for kind in P.KINDS:
        found = things(scene, kind)
        if len(found) > 1:
            items.append(f'{len(found)} {P.PLURAL[kind]}')
        elif found and kind == 'person':
            items.append(f'a person in {article(found[0].colour)} shirt')
        elif found:
            items.append(article(noun(found[0])))
    text = 'A room with ' + _join(items) + '.' if items else 'An empty room.'
    notes = [n for h, n in (('puddle', 'the floor is wet'), ('cable', 'there is a cable'))
             if hazard(scene, h)]
    if notes:
        sentence = ' and '.join(notes)
        text += f' {sentence[0].upper()}{sentence[1:]}.'
    return text


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ', '.join(items[:-1]) + ' and ' + items[-1]
