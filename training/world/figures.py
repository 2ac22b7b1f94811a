# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws the things that stand on the floor, each into its box (u0, v0, u1, v1) in camera units."""

from __future__ import annotations

import numpy as np

from training.world.canvas import Canvas, shade

_SKINS = ((236, 196, 166), (202, 152, 112), (142, 97, 67), (98, 68, 48))
_PANTS = ((45, 52, 82), (62, 62, 64), (96, 82, 62), (32, 32, 36), (120, 120, 118))


def _box(canvas: Canvas, box, colour, g) -> None:
    u0, v0, u1, v1 = box
    w, h = u1 - u0, v1 - v0
    d, top = w * g.uniform(.16, .26), v0 + h * .2
    side = 1 if g.random() < .5 else -1
    a, b = (u0, u1 - d) if side > 0 else (u1, u0 + d)
    e = u1 if side > 0 else u0
    lid = shade(colour, 1.22) if sum(colour) > 130 else shade(colour, 1, 42)
    canvas.polygon(((a, top), (b, top), (b, v1), (a, v1)), colour)
    canvas.polygon(((a, top), (a + side * d, v0), (e, v0), (b, top)), lid)
    canvas.polygon(((b, top), (e, v0), (e, v1 - h * .2), (b, v1)), shade(colour, .66))
    if g.random() < .5:
        m = (a + b) / 2
        canvas.rectangle(m - w * .05, top, m + w * .05, top + h * .3, shade(colour, .82))


def _ball(canvas: Canvas, box, colour, g) -> None:
    u, r = (box[0] + box[2]) / 2, (box[2] - box[0]) / 2
    v, q = box[3] - r, (box[2] - box[0]) / 2
    canvas.ellipse(u, v, r, q, shade(colour, .78))
    canvas.ellipse(u - r * .1, v - q * .1, r * .86, q * .86, colour)
    if g.random() < .4:
        stripe = shade(colour, .85) if sum(colour) > 130 else shade(colour, 1, 30)
        canvas.ellipse(u, v, r * .96, q * .16, stripe)
    glint = shade(colour, 1.35, 20) if sum(colour) > 130 else (120., 120., 122.)
    canvas.ellipse(u - r * .35, v - q * .42, r * .2, q * .18, glint)


def _cone(canvas: Canvas, box, colour, g) -> None:
    u0, v0, u1, v1 = box
    w, h, u = u1 - u0, v1 - v0, (u0 + u1) / 2
    canvas.polygon(((u0, v1), (u1, v1), (u1 - w * .09, v1 - h * .1), (u0 + w * .09, v1 - h * .1)),
                   shade(colour, .8))

    def half(y: float) -> float:
        return w * (.33 - .27 * (y - .1) / .9)

    canvas.polygon(((u - half(.1), v1 - h * .1), (u + half(.1), v1 - h * .1), (u + half(1), v0),
                    (u - half(1), v0)), colour)
    bands = ((.38, .56),) if g.random() < .6 else ((.32, .46), (.60, .72))
    for a, b in bands:
        canvas.polygon(((u - half(a), v1 - h * a), (u + half(a), v1 - h * a),
                        (u + half(b), v1 - h * b), (u - half(b), v1 - h * b)), (242., 242., 242.))


def _person(canvas: Canvas, box, colour, g) -> None:
    u0, v0, u1, v1 = box
    w, h, u = u1 - u0, v1 - v0, (u0 + u1) / 2
    skin, pants = _SKINS[g.integers(4)], _PANTS[g.integers(5)]
    stride, swing = g.uniform(.04, .34), g.uniform(0, .16)
    for s in (-1, 1):
        foot = u + s * w * stride
        canvas.polygon(((u + s * w * .01, v1 - h * .48), (u + s * w * .23, v1 - h * .48),
                        (foot + s * w * .13, v1 - h * .01), (foot - s * w * .06, v1 - h * .01)),
                       pants)
        canvas.ellipse(foot + w * .06, v1 - h * .008, w * .13, h * .014, (35., 30., 28.))
    for s in (-1, 1):
        hand = (u + s * w * (.38 + swing), v1 - h * (.43 + .04 * s * swing))
        canvas.polygon(((u + s * w * .24, v0 + h * .19), (u + s * w * .36, v0 + h * .21),
                        (hand[0] + w * .04, hand[1]), (hand[0] - w * .06, hand[1])),
                       shade(colour, .84) if sum(colour) > 130 else shade(colour, 1, 26))
        canvas.ellipse(*hand, w * .06, h * .02, skin)
    canvas.polygon(((u - w * .29, v0 + h * .18), (u + w * .29, v0 + h * .18),
                    (u + w * .24, v1 - h * .46), (u - w * .24, v1 - h * .46)), colour)
    canvas.rectangle(u - w * .06, v0 + h * .13, u + w * .06, v0 + h * .19, shade(skin, .9))
    canvas.ellipse(u, v0 + h * .085, w * .15, h * .078, skin)
    hair = ((45., 32., 24.), (20., 20., 20.), (150., 115., 60.), (110., 110., 112.))[g.integers(4)]
    canvas.polygon([(u + w * .16 * np.cos(a), v0 + h * .075 - h * .078 * np.sin(a))
                    for a in np.linspace(.15, np.pi - .15, 9)], hair)


FIGURES = {'box': _box, 'ball': _ball, 'cone': _cone, 'person': _person}
