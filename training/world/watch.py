# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot that watches one room for a long time, as frames with what happens in them.

Things appear, go and move, the door opens and closes; between two events lie at least `quiet`
frames, so that a window of `quiet` + 1 frames or less never holds two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.change import Frames, change_text, tremble
from training.world.facts import noun
from training.world.lettering import pick
from training.world.palette import COLUMNS
from training.world.scene import Scene, Thing, new_thing, random_scene, settle

MOST_THINGS = 5


@dataclass
class Event:
    """Something that happened: `frame` is the first that shows it."""

    frame: int
    kind: str      # appeared, gone, moved, opened, closed
    text: str
    subject: Thing | None = None


@dataclass
class Watch:
    """The scenes of the frames, and the events in order."""

    scenes: list[Scene]
    events: list[Event]

    def window(self, first: int, last: int) -> Frames:
        """Frames [first, last], with the event between them; raises ValueError if there are two."""
        inside = [e for e in self.events if first < e.frame <= last]
        if len(inside) > 1:
            raise ValueError(f'Frames {first} to {last} hold {len(inside)} events.')
        scenes = self.scenes[first:last + 1]
        if not inside:
            return Frames(scenes, 'none', 'Nothing changed.')
        event = inside[0]
        name = noun(event.subject) if event.subject else ''
        shown = sum(any(noun(t) == name for t in s.things) for s in scenes)
        return Frames(scenes, event.kind, event.text, event.subject, shown)


def random_watch(r: np.random.Generator, frames: int, quiet: int, train: bool = True) -> Watch:
    """A room and what happens in it; the pause after an event is `quiet` to 2 `quiet` frames."""
    scene = random_scene(r, train, most=MOST_THINGS)
    scenes, events = [], []
    due = int(r.integers(1, quiet + 1))
    for number in range(frames):
        if number == due:
            happened = _happen(r, scene)
            if happened is not None:
                scene, event = happened
                event.frame = number
                events.append(event)
            due = number + int(r.integers(quiet, 2 * quiet + 1)) if happened else number + 1
        scenes.append(tremble(r, scene))
    return Watch(scenes, events)


def _happen(r: np.random.Generator, scene: Scene) -> tuple[Scene, Event] | None:
    """The scene after an event of a random kind; None where the room has no place for it."""
    after = scene.copy()
    only = [t for t in after.things if sum(noun(o) == noun(t) for o in after.things) == 1]
    kind = pick(r, ('door', 'appeared', 'appeared', 'gone', 'gone', 'moved', 'moved'))
    if kind == 'door' and after.door:
        after.door.open = not after.door.open
        return after, Event(0, *change_text('opened' if after.door.open else 'closed'))
    if kind == 'appeared' and len(after.things) < MOST_THINGS:
        thing = new_thing(r)
        if all(noun(t) != noun(thing) for t in after.things) and settle(r, after, thing):
            after.things.append(thing)
            return after, Event(0, *change_text('appeared', thing), thing)
    if kind == 'gone' and only:
        thing = pick(r, only)
        after.things.remove(thing)
        return after, Event(0, *change_text('gone', thing), thing)
    if kind == 'moved' and only:
        thing = pick(r, only)
        start = thing.column
        if settle(r, after, thing, pick(r, [c for c in COLUMNS if c != start]), thing.near):
            return after, Event(0, *change_text('moved', thing, start), thing)
    return None
