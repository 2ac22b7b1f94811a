# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Samples scenes: what stands where, in metres, with the camera that looks at it.

Positions are chosen so that each fact is unambiguous in the picture: a thing is clearly left,
center or right and clearly near or far, and no other thing hides much of it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from training.world import palette as P
from training.world.lettering import heldout_text, pick, sign_lines

BANDS = {'left': (.10, .28), 'center': (.43, .57), 'right': (.72, .90)}
NEAR = (2.0, 2.6)
FAR = (3.9, 5.0)
# Width and height in metres.
SIZES = {'box': (.52, .46), 'ball': (.42, .42), 'cone': (.42, .56), 'person': (.56, 1.62)}


@dataclass
class Camera:
    """A level pinhole camera with slight tilt; lengths are in units of the image height."""

    aspect: float = 4 / 3
    focal: float = 1.05
    height: float = .9
    horizon: float = .41
    tilt: float = 0.0      # degrees
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    x: float = 0.0         # metres to the right of the room's middle
    z: float = 0.0         # metres into the room

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Room coordinates (x right, y up, z away, metres) to (u, v), before tilt."""
        d = max(.2, z - self.z)
        return (self.aspect / 2 + self.focal * (x - self.x) / d,
                self.horizon + self.focal * (self.height - y) / d)

    def lateral(self, fraction: float, z: float) -> float:
        """The x at which something at depth z shows at this fraction of the image width."""
        return self.x + (fraction - .5) * self.aspect * (z - self.z) / self.focal


@dataclass
class Thing:
    """A box, ball, cone or person on the floor, or a puddle or cable."""

    kind: str
    colour: str
    column: str
    near: bool
    x: float = 0.0
    z: float = 3.0
    scale: float = 1.0
    look: int = 0          # chooses details that no question asks about


@dataclass
class Door:
    """A door in the back wall."""

    column: str
    colour: str
    open: bool
    x: float = 0.0
    width: float = .9
    height: float = 2.05
    look: int = 0


@dataclass
class Sign:
    """A sign on the back wall; box is (x0, y0, x1, y1) in metres, y up."""

    column: str
    colour: str
    lines: tuple[str, ...]
    box: tuple[float, float, float, float]
    font: int = 0
    look: int = 0
    legible: bool = True

    @property
    def text(self) -> str:
        """All lines, joined by spaces."""
        return ' '.join(self.lines)


@dataclass
class Scene:
    """Everything in one room."""

    camera: Camera
    wall_z: float
    door: Door | None = None
    signs: list[Sign] = field(default_factory=list)
    wall: list[tuple[str, str, float]] = field(default_factory=list)   # kind, column, x
    things: list[Thing] = field(default_factory=list)
    hazards: list[Thing] = field(default_factory=list)                 # puddle, cable
    look: int = 0
    outside: str = ''      # the name of a picture that is not of this world

    def copy(self) -> Scene:
        """A deep copy."""
        return copy.deepcopy(self)


def extent(thing: Thing, camera: Camera) -> tuple[float, float, float, float]:
    """The thing's box in the picture (u0, v0, u1, v1), before tilt."""
    w, h = (s * thing.scale for s in SIZES[thing.kind])
    u0, v1 = camera.project(thing.x - w / 2, 0, thing.z)
    u1, v0 = camera.project(thing.x + w / 2, h, thing.z)
    return u0, v0, u1, v1


def covered(front: tuple, back: tuple) -> float:
    """The fraction of box `back` that box `front` covers."""
    w = min(front[2], back[2]) - max(front[0], back[0])
    h = min(front[3], back[3]) - max(front[1], back[1])
    return max(0, w) * max(0, h) / max(1e-6, (back[2] - back[0]) * (back[3] - back[1]))


def wall_boxes(scene: Scene) -> list[tuple[tuple, float]]:
    """Picture boxes of door and signs with the share of each that may be hidden."""
    cam, out = scene.camera, []
    if scene.door:
        d = scene.door
        u0, v0 = cam.project(d.x - d.width / 2, d.height, scene.wall_z)
        u1, v1 = cam.project(d.x + d.width / 2, 0, scene.wall_z)
        out.append(((u0, v0, u1, v1), .25))
    for s in scene.signs:
        u0, v0 = cam.project(s.box[0], s.box[3], scene.wall_z)
        u1, v1 = cam.project(s.box[2], s.box[1], scene.wall_z)
        out.append(((u0 - .01, v0 - .01, u1 + .01, v1 + .01), .005))
    return out


def settle(r: np.random.Generator, scene: Scene, thing: Thing, column: str | None = None,
           near: bool | None = None, tries: int = 8) -> bool:
    """Gives the thing a place where little is hidden; False if none was found."""
    cam = scene.camera
    flat = thing.kind in ('puddle', 'cable')
    walls = wall_boxes(scene)
    for _ in range(tries):
        thing.column = column or pick(r, P.COLUMNS)
        thing.near = bool(r.random() < .5) if near is None else near
        thing.z = cam.z + r.uniform(*(NEAR if thing.near else FAR))
        thing.x = cam.lateral(r.uniform(*BANDS[thing.column]), thing.z)
        if flat:
            if all(h.column != thing.column or h.near != thing.near for h in scene.hazards):
                return True
            continue
        box = extent(thing, cam)
        if any(covered(box, w) > limit for w, limit in walls):
            continue
        others = [(extent(t, cam), t) for t in scene.things if t is not thing]
        if all(covered(box, b) < .28 if thing.z < t.z else covered(b, box) < .28
               for b, t in others) and all(abs(t.z - thing.z) > .12 or covered(box, b) == 0
                                           for b, t in others):
            return True
    return False


def new_thing(r: np.random.Generator, like: Thing | None = None) -> Thing:
    """A thing without a place yet; `like` makes it of the same kind and often the same colour."""
    kind = like.kind if like else P.KINDS[int(r.choice(4, p=[.36, .24, .18, .22]))]
    colours = {'box': P.BOX_COLOURS, 'ball': P.BALL_COLOURS, 'person': P.SHIRT_COLOURS,
               'cone': ('orange',)}[kind]
    colour = like.colour if like and r.random() < .5 else pick(r, colours)
    return Thing(kind, colour, 'left', True, scale=float(r.uniform(.88, 1.12)),
                 look=int(r.integers(1 << 30)))


def random_camera(r: np.random.Generator) -> Camera:
    """A camera as robots carry them: 4:3 mostly, at times 16:9 or square."""
    return Camera(aspect=(4 / 3, 16 / 9, 1.0)[int(r.choice(3, p=[.66, .2, .14]))],
                  focal=float(r.uniform(.95, 1.15)), height=float(r.uniform(.8, 1.05)),
                  horizon=float(r.uniform(.36, .44)), tilt=float(np.clip(r.normal(0, 1.6), -4, 4)),
                  zoom=float(r.uniform(.98, 1.03)),
                  shift=(float(r.uniform(-.012, .012)), float(r.uniform(-.012, .012))))


def _add_sign(r: np.random.Generator, scene: Scene, column: str, wide: bool, train: bool) -> None:
    colour = pick(r, tuple(P.SIGN_COLOURS))
    if any(s.colour == colour for s in scene.signs):
        return
    lines = sign_lines(r)
    while train and heldout_text(' '.join(lines)):
        lines = sign_lines(r)
    cam = scene.camera
    metre = cam.focal / (scene.wall_z - cam.z)            # picture heights per metre
    char = r.uniform(.046, .088)                          # height of a capital in picture heights
    longest = max(len(t) for t in lines)
    aspect = .80                                          # of a character's advance to its height
    # The picture is squashed to a square, so that a wide one has narrower characters.
    limit = (.38 if wide else .29) * cam.aspect
    width = longest * aspect * char + .03
    if width > limit:
        char, width = char * limit / width, limit
    height = len(lines) * char * 1.5 + .025
    if height > .34:
        width, char, height = width * .34 / height, char * .34 / height, .34
    lo, hi = {'left': (.035, .34), 'center': (.33, .67), 'right': (.66, .965)}[column]
    slack = max(0.0, (hi - lo) * cam.aspect - width) / 2
    slack = min(slack, .06 * cam.aspect) if column == 'center' else slack
    u = (lo + hi) / 2 * cam.aspect + r.uniform(-1, 1) * slack
    top = r.uniform(.03, max(.04, cam.horizon + .08 - height))
    x = cam.lateral(u / cam.aspect, scene.wall_z)
    y1 = cam.height + (cam.horizon - top) / metre
    w, h = width / metre, height / metre
    scene.signs.append(Sign(column, colour, lines, (x - w / 2, y1 - h, x + w / 2, y1),
                            font=int(r.integers(5)), look=int(r.integers(1 << 30)),
                            legible=char > .026))


def random_scene(r: np.random.Generator, train: bool = True, most: int = 7) -> Scene:
    """A room with a door, signs, wall decoration and up to `most` - 1 things."""
    cam = random_camera(r)
    scene = Scene(cam, wall_z=float(r.uniform(5.6, 6.6)), look=int(r.integers(1 << 30)))
    free = [P.COLUMNS[i] for i in r.permutation(3)]
    if r.random() < .68:
        column = free.pop()
        frac = r.uniform(*{'left': (.12, .27), 'center': (.44, .56), 'right': (.73, .88)}[column])
        scene.door = Door(column, pick(r, P.DOOR_COLOURS), bool(r.random() < .5),
                          x=cam.lateral(frac, scene.wall_z), width=float(r.uniform(.85, 1.1)),
                          height=float(r.uniform(1.95, 2.2)), look=int(r.integers(1 << 30)))
    count = int(r.choice(3, p=[.18, .66, .16]))
    wide = count == 1 and scene.door is None
    for _ in range(count):
        _add_sign(r, scene, free.pop(), wide, train)
    scene.signs.sort(key=lambda s: P.COLUMNS.index(s.column))
    for column in free:
        if r.random() < .45 and not (wide and scene.signs):
            scene.wall.append((pick(r, P.WALL_KINDS), column,
                               cam.lateral(np.mean(BANDS[column]) + r.uniform(-.02, .02),
                                           scene.wall_z)))
    for kind, chance in (('puddle', .3), ('cable', .22)):
        if r.random() < chance:
            hazard = Thing(kind, '', 'left', True, scale=float(r.uniform(.85, 1.2)),
                           look=int(r.integers(1 << 30)))
            if settle(r, scene, hazard):
                scene.hazards.append(hazard)
    last = None
    for _ in range(int(r.integers(0, most))):
        thing = new_thing(r, last if last and r.random() < .38 else None)
        if settle(r, scene, thing):
            scene.things.append(thing)
            last = thing
    _keep_visible(scene)
    return scene


def _keep_visible(scene: Scene) -> None:
    """Drops hazards that things would hide."""
    cam = scene.camera
    for hazard in list(scene.hazards):
        u, v = cam.project(hazard.x, 0, hazard.z)
        half, flat = .45 * cam.focal / (hazard.z - cam.z), .02
        box = (u - half, v - flat, u + half, v + flat)
        if sum(covered(extent(t, cam), box) for t in scene.things if t.z < hazard.z + .3) > .3:
            scene.hazards.remove(hazard)
