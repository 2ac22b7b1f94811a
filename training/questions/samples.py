# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole samples: frames together with the chats about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.questions import presence
from training.questions import single as Q
from training.questions.asking import Asker, Turn
from training.questions.chat import follow_ups
from training.questions.frames import frame_turns
from training.questions.outside import blind_turn, outside_turn
from training.questions.structured import structured
from training.world.change import random_frames
from training.world.lens import outside_kind
from training.world.scene import Scene, random_scene

Chat = list[Turn]

SKILLS = ('describe', 'exist', 'count', 'colour', 'where', 'read', 'door', 'hazard', 'json',
          'change', 'change_yes_no', 'frames', 'frame', 'outside', 'chat', 'blind')


@dataclass
class Sample:
    """Frames in order, chats about them (each on its own) and chats without a picture."""

    scenes: list[Scene]
    chats: list[Chat]
    blind: list[Chat]


_PLAN = (Q.describe, Q.read, presence.exist, presence.exist, presence.yes_no, presence.yes_no,
         Q.count, Q.count, Q.colour, Q.where, Q.where, Q.door, Q.hazards, structured, structured)


def single_scene(r: np.random.Generator, train: bool) -> Scene:
    """A scene for one picture; now and then one with an unreadable sign or not of this world."""
    x = r.random()
    scene = random_scene(r, train)
    if x < .03:
        return Scene(scene.camera, scene.wall_z, outside=outside_kind(r))
    if x < .07 and scene.signs:
        for s in scene.signs:
            s.legible = False
    return scene


def single_chats(r: np.random.Generator, scene: Scene,
                 train: bool) -> tuple[list[Chat], list[Chat]]:
    """A fresh set of chats about one picture, in random order, and one without a picture."""
    a = Asker(r, train)
    chats: list[Chat] = []
    for ask in _PLAN:
        turn = ask(a, scene)
        if turn is not None:
            chats.append([turn])
    chats.append([outside_turn(a)])
    if not scene.outside and r.random() < .5:
        chats.append(follow_ups(a, scene))
    if r.random() < .15 and len(chats) > 3:   # unrelated questions in one chat
        i, j = r.choice(len(chats), 2, replace=False)
        if len(chats[i]) == len(chats[j]) == 1:
            second = chats[j][0]
            chats.append([chats[i][0], second])
    order = r.permutation(len(chats))
    return [chats[i] for i in order], [[blind_turn(a)]] if r.random() < .5 else []


def single_sample(r: np.random.Generator, train: bool) -> Sample:
    """One picture with its chats."""
    scene = single_scene(r, train)
    return Sample([scene], *single_chats(r, scene, train))


def frames_sample(r: np.random.Generator, count: int, train: bool) -> Sample:
    """Several frames with their chats."""
    frames = random_frames(r, count, train)
    chats = [[t] for t in frame_turns(Asker(r, train), frames)]
    return Sample(frames.scenes, [chats[i] for i in r.permutation(len(chats))], [])
