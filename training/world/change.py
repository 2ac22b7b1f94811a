# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Several frames of one room in which at most one thing differs between first and last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world import palette as P
from training.world.facts import article, noun, place
from training.world.lettering import pick
from training.world.scene import Scene, Thing, new_thing, random_scene, settle


@dataclass
class Frames:
    """The frames, the change between first and last, and the thing (if any) it is about."""

    scenes: list[Scene]
    kind: str                  # none, appeared, gone, moved, opened, closed
    text: str
    subject: Thing | None = None
    shown: int = 0             # frames that show the subject


def tremble(r: np.random.Generator, scene: Scene) -> Scene:
    """The same room seen by a camera that trembles."""
    out = scene.copy()
    cam = out.camera
    cam.tilt += float(r.uniform(-.4, .4))
    cam.shift = (cam.shift[0] + float(r.uniform(-.005, .005)),
                 cam.shift[1] + float(r.uniform(-.005, .005)))
    return out


def change_text(kind: str, thing: Thing | None = None, start: str = '') -> tuple[str, str]:
    """(kind, what is said of it); a thing that moved came from the column `start`."""
    if thing is None:
        return kind, 'Nothing changed.' if kind == 'none' else f'The door {kind}.'
    what = article(noun(thing))
    text = {'appeared': f'{what} appeared {place(thing.column)}.',
            'gone': f'{what} {place(thing.column)} disappeared.',
            'moved': f'the {noun(thing)} moved from the {start} to the {thing.column}.'}[kind]
    return kind, text[0].upper() + text[1:]


def _with_subject(r: np.random.Generator, base: Scene) -> Thing | None:
    """Adds a thing that is the only one of its name; None if there was no room."""
    for _ in range(6):
        thing = new_thing(r)
        if all(noun(t) != noun(thing) for t in base.things) and settle(r, base, thing):
            base.things.append(thing)
            return thing
    return None


def _presence(r: np.random.Generator, count: int, first: bool, last: bool) -> list[bool]:
    """In which frames the subject shows: one change most often, any pattern at times."""
    if count > 2 and r.random() < .35:
        middle = [bool(x) for x in r.random(count - 2) < .5]
    else:
        turn = int(r.integers(1, count))
        middle = [(first if i < turn else last) for i in range(1, count - 1)]
    return [first, *middle, last]


def random_frames(r: np.random.Generator, count: int, train: bool = True) -> Frames:
    """count frames (2 or more) of one room."""
    while True:
        base = random_scene(r, train, most=5)
        kind = pick(r, ('none', 'door', 'appeared', 'appeared', 'gone', 'gone', 'moved', 'moved'))
        if kind == 'door':
            if base.door:
                return _door(r, base, count)
            continue
        subject = _with_subject(r, base)
        if subject is None:
            continue
        index = len(base.things) - 1
        if kind == 'moved':
            moved = base.copy()
            column = pick(r, [c for c in P.COLUMNS if c != subject.column])
            thing = moved.things[index]
            if not settle(r, moved, thing, column, subject.near):
                continue
            turn = int(r.integers(1, count))
            scenes = [tremble(r, base if i < turn else moved) for i in range(count)]
            return Frames(scenes, *change_text('moved', thing, subject.column), subject, count)
        without = base.copy()
        without.things.pop(index)
        first, last = {'none': (True, True), 'appeared': (False, True), 'gone': (True, False)}[kind]
        if kind == 'none' and r.random() < .25:
            first = last = False
        shown = _presence(r, count, first, last)
        scenes = [tremble(r, base if s else without) for s in shown]
        text = change_text(kind, subject if kind != 'none' else None)
        return Frames(scenes, *text, subject, sum(shown))


def _door(r: np.random.Generator, base: Scene, count: int) -> Frames:
    other = base.copy()
    other.door.open = not base.door.open
    turn = int(r.integers(1, count))
    scenes = [tremble(r, base if i < turn else other) for i in range(count)]
    return Frames(scenes, *change_text('opened' if other.door.open else 'closed'))
