# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A scripted drive of a robot past several rooms, as a smooth video with its ground truth.

The robot looks into one room after the other; in each room something happens between two quiet
segments. A room is drawn from the held-out split and chosen so that its answers are unambiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.world import facts as F
from training.world.draw import draw_scene
from training.world.lettering import heldout_text
from training.world.scene import FAR, NEAR, Scene, Thing, covered, extent, random_scene, wall_boxes

WIDTH, HEIGHT = 640, 480
RATE = 10   # frames per second
QUIET = 3.1   # seconds of a segment
EVENT = 1.0   # seconds of what happens between two segments
PAN = .7   # seconds of the turn to the next room


@dataclass
class Segment:
    """A stretch of the video, [start, end) seconds, with the scene as it stays meanwhile."""

    start: float
    end: float
    scene: Scene
    act: int


@dataclass
class Act:
    """One room: how it is before and after, and every state in between (share 0..1)."""

    before: Scene
    after: Scene
    between: Callable[[float], Scene]


def _find(seed: int, wanted: Callable[[Scene], bool]) -> Scene:
    """The first held-out scene with a legible held-out sign, at 4:3, that is as wanted."""
    for i in range(20000):
        scene = random_scene(np.random.default_rng([seed, i, 4]), train=False)
        cam = scene.camera
        if abs(cam.aspect - 4 / 3) > .01 or not F.legible(scene):
            continue
        if scene.signs and not all(heldout_text(s.text) for s in scene.signs):
            continue
        if wanted(scene):
            cam.tilt, cam.zoom, cam.shift = 0.0, 1.0, (0.0, 0.0)
            return scene
    raise RuntimeError(f'No scene for seed {seed} is as the script wants it.')


def _free(scene: Scene, thing: Thing) -> bool:
    """True when the thing hides nothing and is not hidden."""
    box = extent(thing, scene.camera)
    if any(covered(box, w) > limit for w, limit in wall_boxes(scene)):
        return False
    return all(
        covered(box, extent(t, scene.camera)) < .2 and covered(extent(t, scene.camera), box) < .2
        for t in scene.things if t is not thing)


def _placed(scene: Scene, kind: str, colour: str, column: str, near: bool, look: int) -> Thing:
    depth = float(np.mean(NEAR if near else FAR))
    at = {'left': .19, 'center': .5, 'right': .81}[column]
    return Thing(kind, colour, column, near, scene.camera.lateral(at, depth), depth, 1.0, look)


def _person_comes(seed: int) -> Act:

    def person(scene: Scene) -> Thing:
        return _placed(scene, 'person', 'blue', 'left', False, 7)

    before = _find(
        seed, lambda s: s.door is not None and not s.door.open and len(s.signs) == 1 and len(
            F.things(s, 'box')) == 2 and not F.things(s, 'person') and s.door.column != 'left' and s
        .signs[0].column != 'left' and _free(s, person(s)))
    after = before.copy()
    after.things.append(person(after))

    def between(share: float) -> Scene:
        scene = before.copy()
        walker = person(scene)
        walker.x = scene.camera.lateral(-.15 + .34 * share, walker.z)
        walker.look = 7 + int(share * 8) * 13 if share < .95 else 7
        scene.things.append(walker)
        return scene

    return Act(before, after, between)


def _door_opens(seed: int) -> Act:
    before = _find(
        seed, lambda s: s.door is not None and not s.door.open and len(s.signs) == 1 and len(
            F.things(s, 'cone')) == 1 and F.hazard(s, 'puddle') is not None and 2 <= len(s.things)
        <= 4 and F.hazard(s, 'cable') is None and not any(p.near for p in F.things(s, 'person')))
    after = before.copy()
    after.door.open = True
    return Act(before, after, lambda share: (after if share > .5 else before).copy())


def _ball_rolls(seed: int) -> Act:
    before = _find(
        seed, lambda s: len(F.things(s, 'ball')) == 1 and len(s.signs) == 1 and F.things(s, 'ball')[
            0].column == 'left' and F.things(s, 'ball')[0].near and 2 <= len(s.things) <= 4 and
        not F.things(s, 'cone') and all(t.column != 'right' or not t.near for t in s.things))
    index = before.things.index(F.things(before, 'ball')[0])
    after = before.copy()
    ball = after.things[index]
    ball.column, ball.x = 'right', after.camera.lateral(.82, ball.z)

    def between(share: float) -> Scene:
        scene = before.copy()
        smooth = share * share * (3 - 2 * share)
        scene.things[index].x += (ball.x - scene.things[index].x) * smooth
        return scene

    return Act(before, after, between)


def _box_goes(seed: int) -> Act:
    before = _find(
        seed, lambda s: len(F.things(s, 'box')) == 3 and len(F.things(s, 'person')) == 1 and s.door
        is not None and s.door.open and not s.signs and any(t.kind == 'box' and t.column == 'right'
                                                            for t in s.things))
    index = next(i for i, t in enumerate(before.things) if t.kind == 'box' and t.column == 'right')
    after = before.copy()
    after.things.pop(index)

    def between(share: float) -> Scene:
        scene = before.copy()
        box = scene.things[index]
        box.x += scene.camera.lateral(1.4, box.z) * share
        return scene

    return Act(before, after, between)


def acts(seed: int) -> list[Act]:
    """The four rooms of the drive."""
    return [_person_comes(seed), _door_opens(seed + 1), _ball_rolls(seed + 2), _box_goes(seed + 3)]


def segments(script: list[Act]) -> list[Segment]:
    """When which scene stays as it is."""
    out, t = [], 0.0
    for i, act in enumerate(script):
        out.append(Segment(t, t + QUIET, act.before, i))
        t += QUIET + EVENT
        out.append(Segment(t, t + QUIET, act.after, i))
        t += QUIET + PAN
    return out


def _moving(scene: Scene, t: float, into: float) -> Scene:
    """The scene from a robot that creeps forward and sways."""
    out = scene.copy()
    cam = out.camera
    cam.z += .012 * into
    cam.x += .02 * np.sin(1.3 * t)
    cam.tilt = .35 * np.sin(2.1 * t)
    cam.shift = (0.0, .003 * np.sin(5 * t))
    return out


def frames(script: list[Act], seed: int):
    """Yields (seconds, RGB picture [480, 640, 3]) at RATE frames per second."""
    length = 2 * QUIET + EVENT
    total = len(script) * (length + PAN) - PAN
    for n in range(int(round(total * RATE))):
        t = n / RATE
        index = min(int(t / (length + PAN)), len(script) - 1)
        into = t - index * (length + PAN)
        r = np.random.default_rng([seed, n, 5])
        picture = _room(script[index], t, min(into, length))
        if into > length:
            share = (into - length) / PAN
            share = share * share * (3 - 2 * share)
            edge = int(round(WIDTH * share))
            following = _room(script[index + 1], t, 0.0)
            picture = np.concatenate([picture[:, edge:], following[:, :edge]], 1)
        yield t, _grain(picture, r)


def _room(act: Act, t: float, into: float) -> np.ndarray:
    if into < QUIET:
        scene = act.before
    elif into < QUIET + EVENT:
        scene = act.between((into - QUIET) / EVENT)
    else:
        scene = act.after
    return draw_scene(_moving(scene, t, into), WIDTH, HEIGHT)[0]


def _grain(picture: np.ndarray, r: np.random.Generator) -> np.ndarray:
    """Sensor noise, light enough for a small file."""
    noise = r.normal(0, .9, picture.shape[:2]).astype(np.float32)[..., None]
    return np.clip(picture * np.float32(.95) + noise, 0, 255).astype(np.uint8)
