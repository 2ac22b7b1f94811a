# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Short chats about one picture."""

from __future__ import annotations

from training.questions.asking import Asker, Turn
from training.world import facts as F
from training.world import palette as P
from training.world.lettering import pick
from training.world.scene import Scene, Thing


def follow_ups(a: Asker, scene: Scene) -> list[Turn]:
    """A short chat whose later questions lean on the earlier ones."""
    unique: list[Thing] = [
        t for t in scene.things if len(F.things(scene, t.kind)) == 1 and t.kind in ('box', 'ball')]
    if unique and a.r.random() < .6:
        t = pick(a.r, unique)
        chat = [a.turn('chat', (f'Is there a {t.kind}?', f'Do you see a {t.kind}?'), (), 'Yes.')]
        later = [
            a.turn('chat', ('What color is it?', 'Which color is it?', 'And its color?'), (),
                   f'{t.colour.capitalize()}.'),
            a.turn('chat', ('Where is it?', 'And where is it?'), (), F.where(t.column, t.near))]
        if a.r.random() < .5:
            later.reverse()
        return chat + later[:int(a.r.integers(1, 3))]
    kinds = [P.KINDS[i] for i in a.r.permutation(4)[:2]]
    first = a.turn('chat', ('How many {xs} are there?', 'How many {xs} do you see?'), (),
                   str(len(F.things(scene, kinds[0]))), xs=P.PLURAL[kinds[0]])
    then = a.turn('chat', ('And how many {xs}?', 'And {xs}?', 'What about {xs}?', 'How many {xs}?'),
                  (), str(len(F.things(scene, kinds[1]))), xs=P.PLURAL[kinds[1]])
    return [first, then]
