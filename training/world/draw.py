# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws a scene onto a canvas and reports where things and characters ended up."""

from __future__ import annotations

import cv2
import numpy as np

from training.world import palette as P
from training.world.canvas import Canvas, shade
from training.world.figures import FIGURES
from training.world.scene import Door, Scene, Sign, Thing, extent
from training.world.text import sign_face

_NOISE = np.random.default_rng(5).integers(0, 256, (768, 768, 1), np.uint8)
_BLOBS = cv2.GaussianBlur(_NOISE[..., 0], (0, 0), 12)
_BLOBS = cv2.normalize(_BLOBS, None, 0, 255, cv2.NORM_MINMAX)[..., None]


class Labels:
    """What is where in the finished picture, for the training's dense helper losses.

    things: (name, u0, v0, u1, v1, depth) boxes; letters: (character, x, y) points; all in pixels
    divided by the picture's width and height (0..1).
    """

    def __init__(self) -> None:
        self.things: list[tuple[str, float, float, float, float, float]] = []
        self.letters: list[tuple[str, float, float]] = []

    def add_box(self, canvas: Canvas, name: str, box: tuple, depth: float) -> None:
        """Records a box given in camera units."""
        h, w = canvas.pixels.shape[:2]
        p = canvas.to_pixels(
            ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]))) / (w, h)
        self.things.append((name, *p.min(0), *p.max(0), depth))


def draw_scene(scene: Scene, width: int, height: int) -> tuple[np.ndarray, Labels]:
    """The picture [height, width, 3] RGB uint8 without light and lens effects, and its labels."""
    canvas, labels = Canvas(scene.camera, width, height), Labels()
    g = np.random.default_rng(scene.look)
    wall, floor = _room(canvas, scene, g)
    cam = scene.camera
    for kind, _, x in scene.wall:
        _wall_item(canvas, scene, labels, kind, x, g)
    if scene.door:
        _door(canvas, scene, labels, scene.door, wall)
    for sign in scene.signs:
        _sign(canvas, scene, labels, sign)
    for hazard in scene.hazards:
        _hazard(canvas, scene, labels, hazard, floor)
    for thing in sorted(scene.things, key=lambda t: -t.z):
        box = extent(thing, cam)
        u, w = (box[0] + box[2]) / 2, box[2] - box[0]
        canvas.ellipse(u + w * .06, box[3], w * .56, w * .12, shade(floor, .72))
        t = np.random.default_rng(thing.look)
        base = np.array(P.COLOURS[thing.colour]) + t.uniform(-14, 14, 3)
        FIGURES[thing.kind](canvas, box, shade(base, t.uniform(.92, 1.06)), t)
        labels.add_box(canvas, f'{thing.kind}:{thing.colour}', box, thing.z)
    return canvas.pixels, labels


def _room(canvas: Canvas, scene: Scene, g: np.random.Generator):
    """Wall, floor and skirting; returns the colours of wall and floor."""
    cam = scene.camera
    wall = np.clip(g.uniform(135, 225) + g.uniform(-20, 20, 3), 0, 255)
    floor = np.clip(g.uniform(75, 175) + g.uniform(-20, 20, 3), 0, 255)
    if abs(wall.mean() - floor.mean()) < 28:
        floor = np.clip(floor - 45, 20, 255)
    v = cam.project(0, 0, scene.wall_z)[1]
    pix, a = canvas.pixels, cam.aspect
    pix[:] = wall.astype(np.uint8)
    if g.random() < .35:   # two-tone wall
        band = shade(wall, g.uniform(.78, .92))
        canvas.rectangle(-a, v - g.uniform(.08, .16), 2 * a, v, band)
    canvas.rectangle(-a, v, 2 * a, 2, tuple(map(float, floor)))
    _floor_pattern(canvas, scene, g, floor, v)
    half = g.uniform(2.3, 4.2)
    for s in (-1, 1):   # side walls of a corridor, when the room is narrow
        if half < 3.1:
            u = cam.project(s * half, 0, scene.wall_z)[0]
            if (u < .04 * a) if s < 0 else (u > .96 * a):
                far = (cam.project(s * half, 3, scene.wall_z), cam.project(
                    s * half, 0, scene.wall_z))
                out = (cam.project(s * half, 0, cam.z + .6), cam.project(s * half, 3, cam.z + .6))
                canvas.polygon((*far, *out), shade(wall, .84))
    if g.random() < .65:
        canvas.rectangle(-a, v - g.uniform(.010, .02), 2 * a, v, shade(wall, g.uniform(.55, .75)))
    if g.random() < .3:   # a soft shadow across the room
        x, w = g.uniform(0, a), g.uniform(.15, .5)
        canvas.polygon(((x, v), (x + w * .6, v), (x + w * 1.5, 1.2), (x - w * .4, 1.2)),
                       shade(floor, .88))
    h, w = pix.shape[:2]
    if g.random() < .5:   # mottled paint and floor
        y, x = (int(n) for n in g.integers(0, 768 - max(h, w) if max(h, w) < 768 else 1, 2))
        blob = _BLOBS[y:y + h, x:x + w] if max(h, w) <= 768 else cv2.resize(_BLOBS, (w, h))
        blob = blob.reshape(blob.shape[0], blob.shape[1], 1)
        cv2.subtract(pix, np.repeat(blob // int(g.integers(8, 18)), 3, 2), dst=pix)
    return wall, floor


def _floor_pattern(canvas: Canvas, scene: Scene, g, floor, v: float) -> None:
    cam, kind = scene.camera, int(g.integers(4))
    line, z_end = shade(floor, g.uniform(.82, .92)), cam.z + .8
    if kind == 0:   # tiles
        step = g.uniform(.5, .9)
        for x in np.arange(-6, 6, step):
            canvas.line((cam.project(x, 0, scene.wall_z), cam.project(x, 0, z_end)), .003, line)
        for z in np.arange(scene.wall_z, z_end, -step):
            y = cam.project(0, 0, z)[1]
            canvas.line(((-.2, y), (cam.aspect + .2, y)), .003, line)
    elif kind == 1:   # planks
        step = g.uniform(.3, .5)
        for i, x in enumerate(np.arange(-5, 5, step)):
            if i % 2:
                canvas.polygon(
                    (cam.project(x, 0, scene.wall_z), cam.project(x + step, 0, scene.wall_z),
                     cam.project(x + step, 0, z_end), cam.project(x, 0, z_end)),
                    shade(floor, g.uniform(.90, 1.04)))
    elif kind == 2:   # carpet: fine grain
        pix = canvas.pixels
        top = int(np.clip(v * pix.shape[0], 0, pix.shape[0] - 1))
        grain = _NOISE[:pix.shape[0] - top, :pix.shape[1]] // int(g.integers(9, 20))
        if grain.shape[:2] == pix[top:].shape[:2]:
            cv2.add(pix[top:], np.repeat(grain, 3, 2), dst=pix[top:])


def _wall_item(canvas: Canvas, scene: Scene, labels: Labels, kind: str, x: float, g) -> None:
    cam, z = scene.camera, scene.wall_z
    w, h, y = {'window': (1.1, 1.0, 1.35), 'picture': (.9, .7, 1.35), 'shelf': (
        1.1, 1.1, .55)}[kind]
    u0, v0 = cam.project(x - w / 2, y + h, z)
    u1, v1 = cam.project(x + w / 2, y, z)
    f, p = u1 - u0, v1 - v0
    labels.add_box(canvas, kind, (u0, v0, u1, v1), z)
    if kind == 'window':
        canvas.rectangle(u0, v0, u1, v1, (235., 235., 232.))
        sky = shade((175, 208, 238), g.uniform(.8, 1.1))
        for i in (0, 1):
            for j in (0, 1):
                canvas.rectangle(u0 + f * (.06 + .48 * i), v0 + p * (.07 + .47 * j),
                                 u0 + f * (.46 + .48 * i), v0 + p * (.46 + .47 * j), sky)
    elif kind == 'picture':
        canvas.rectangle(u0, v0, u1, v1, shade((70, 50, 35), g.uniform(.6, 1.6)))
        canvas.rectangle(u0 + f * .07, v0 + p * .09, u1 - f * .07, v1 - p * .09,
                         shade((205, 212, 205), g.uniform(.8, 1.1)))
        hill = shade((105, 140, 100), g.uniform(.7, 1.2))
        canvas.polygon(((u0 + f * .07, v1 - p * .09), (u0 + f * g.uniform(.2, .5), v0 + p * .35),
                        (u1 - f * .25, v0 + p * .6), (u1 - f * .07, v1 - p * .09)), hill)
    else:
        wood = shade((118, 96, 74), g.uniform(.75, 1.15))
        for i in range(4):
            y0 = v0 + p * (.05 + .3 * i)
            if i < 3:
                n = int(g.integers(3, 7))
                for k in range(n):
                    b = g.uniform(.4, .9)
                    canvas.rectangle(u0 + f * (.08 + .84 * k / n), y0 + p * .28 * (1 - b),
                                     u0 + f * (.08 + .84 * (k + .75) / n), y0 + p * .3,
                                     shade(g.uniform(70, 170, 3), 1))
            canvas.rectangle(u0, y0 - p * .025, u1, y0 + p * .025, wood)
        for a in (u0, u1 - f * .05):
            canvas.rectangle(a, v0, a + f * .05, v1, wood)


def _door(canvas: Canvas, scene: Scene, labels: Labels, door: Door, wall) -> None:
    cam, z = scene.camera, scene.wall_z
    g = np.random.default_rng(door.look)
    u0, v0 = cam.project(door.x - door.width / 2, door.height, z)
    u1, v1 = cam.project(door.x + door.width / 2, 0, z)
    w, h = u1 - u0, v1 - v0
    colour = shade(np.array(P.COLOURS[door.colour]) + g.uniform(-10, 10, 3), g.uniform(.92, 1.05))
    left = g.random() < .5
    canvas.rectangle(u0 - .016, v0 - .016, u1 + .016, v1, shade(wall, .58))
    if door.open:
        dark = g.random() < .7
        level = g.uniform(18, 55) if dark else g.uniform(215, 250)
        canvas.rectangle(u0, v0, u1, v1, (level, level, level * (1.0 if dark else .97)))
        k = w * g.uniform(.28, .48)
        a, s = (u0, -1) if left else (u1, 1)
        canvas.polygon(((a, v0), (a + s * k, v0 - h * .05), (a + s * k, v1 + h * .09), (a, v1)),
                       shade(colour, .88))
        canvas.ellipse(a + s * k * .84, v0 + h * .55, .006, .009, (225., 200., 90.))
    else:
        canvas.rectangle(u0, v0, u1, v1, colour)
        style = g.integers(3)
        line = shade(colour, .8) if sum(colour) > 120 else shade(colour, 1, 30)
        if style < 2:
            for a, b in ((.08, .46), (.54, .94)) if style else ((.08, .94),):
                canvas.rectangle(u0 + w * .16, v0 + h * a, u1 - w * .16, v0 + h * b, line)
                canvas.rectangle(u0 + w * .19, v0 + h * (a + .015), u1 - w * .19,
                                 v0 + h * (b - .015), colour)
        canvas.ellipse(u0 + w * .1 if left else u1 - w * .1, v0 + h * .53, .009, .011,
                       (225., 200., 90.))
    state = 'open' if door.open else 'closed'
    labels.add_box(canvas, f'door:{state}:{door.colour}', (u0, v0, u1, v1), z)


def _sign(canvas: Canvas, scene: Scene, labels: Labels, sign: Sign) -> None:
    cam, z = scene.camera, scene.wall_z
    u0, v0 = cam.project(sign.box[0], sign.box[3], z)
    u1, v1 = cam.project(sign.box[2], sign.box[1], z)
    rows, cols = canvas.pixels.shape[:2]
    # The face is drawn at the picture's own scale, so that pasting does not alias.
    w = max(12, int(round((u1 - u0) / cam.aspect * cols * cam.zoom)))
    h = max(8, int(round((v1 - v0) * rows * cam.zoom)))
    patch, mask, letters = sign_face(sign, w, h, cols / cam.aspect / rows)
    canvas.paste(patch, mask, (u0, v0, u1, v1))
    labels.add_box(canvas, f'sign:{sign.colour}', (u0, v0, u1, v1), z - .01)
    if letters:
        at = canvas.to_pixels([(u0 + x * (u1 - u0), v0 + y * (v1 - v0)) for _, x, y in letters])
        labels.letters += [(c, x / cols, y / rows) for (c, _, _), (x, y) in zip(letters, at)]


def _hazard(canvas: Canvas, scene: Scene, labels: Labels, hazard: Thing, floor) -> None:
    cam = scene.camera
    g = np.random.default_rng(hazard.look)
    u, v = cam.project(hazard.x, 0, hazard.z)
    k = cam.focal / (hazard.z - cam.z) * hazard.scale
    w = .42 * k
    b = w * (.26 if hazard.near else .20)
    if hazard.kind == 'puddle':
        water = shade(np.array(floor) * .55 + np.array((55, 92, 128)) * .78, 1)
        for a, c, s in ((0, 0, 1), (.55, .2, .6), (-.6, .15, .62), (.2, -.3, .5)):
            canvas.ellipse(u + w * a, v + b * c, w * .75 * s, b * s, water)
        canvas.ellipse(u - w * .2, v - b * .25, w * .26, b * .2, shade(water, 1.4))
    else:
        t = np.linspace(-1, 1, 24)
        wave = np.sin(t * g.uniform(3, 6) + g.uniform(0, 6)) * (1 - .3 * t * t)
        points = np.stack([u + t * w * 1.1, v + wave * b * .8], 1)
        dark = (22., 22., 24.) if np.mean(floor) > 78 else (225., 120., 30.)
        canvas.line(points, .013 if hazard.near else .0085, dark)
    labels.add_box(canvas, hazard.kind, (u - w * 1.1, v - b, u + w * 1.1, v + b), 90.0)
