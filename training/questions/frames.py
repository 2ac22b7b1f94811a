# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions about several frames in order."""

from __future__ import annotations

from training.questions.asking import Asker, Turn, phrases
from training.questions.single import _COUNT, _DOOR
from training.world import facts as F
from training.world import palette as P
from training.world.change import Frames
from training.world.lettering import pick

_CHANGE = phrases('change')
_CHANGE_NEW = phrases('change, test only')
_SHOWN = phrases('frames that show')
_SHOWN_NEW = phrases('frames that show, test only')
_ORDINALS = ('first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth')


def change(a: Asker, f: Frames) -> Turn:
    """What changed between first and last?"""
    return a.turn('change', _CHANGE, _CHANGE_NEW, f.text)


def change_yes_no(a: Asker, f: Frames) -> Turn:
    """Did something appear, disappear, move, open, close, change?"""
    options = {
        'appeared': ('Did something appear?', 'Did anything appear?', 'Is there something new?',
                     'Is there anything new in the last frame?', 'Has something appeared?',
                     'Did a new object appear?', 'Has something new appeared?',
                     'Is there a new object in the last image?'),
        'gone': ('Did something disappear?', 'Did anything disappear?', 'Is something gone?',
                 'Has something disappeared?', 'Has anything disappeared?',
                 'Did an object disappear?', 'Is anything missing in the last frame?'), 'moved': (
                     'Did something move?', 'Did anything move?', 'Has something moved?',
                     'Has anything moved?', 'Did an object move?'), 'opened': (
                         'Did the door open?', 'Was the door opened?', 'Has the door opened?'),
        'closed': ('Did the door close?', 'Was the door closed?', 'Has the door closed?'), 'any': (
            'Did anything change?', 'Is there any change?', 'Did something change?',
            'Has anything changed?', 'Is there a change between the first and the last frame?'),
        'same': ('Are the first and the last frame the same?', 'Is everything the same?'), }
    new = {
        'any': ('Has something changed?', 'Is there a change?'), 'appeared': (
            'Has anything appeared?',), 'moved': ('Was something moved?',), 'gone': (
                'Is anything gone?',)}
    kind = f.kind if f.kind != 'none' and a.r.random() < .45 else pick(a.r, tuple(options))
    value = {'any': f.kind != 'none', 'same': f.kind == 'none'}.get(kind, f.kind == kind)
    return a.turn('change_yes_no', options[kind], new.get(kind, ()), F.yes_no(value), 'yes_no')


def shown(a: Asker, f: Frames) -> Turn:
    """In how many frames is X visible?"""
    if f.subject is not None and a.r.random() < .8:
        name, n = F.noun(f.subject), f.shown
        if name in ('person', 'cone') or all(t.kind != f.subject.kind
                                             for t in f.scenes[0].things if F.noun(t) != name):
            name = f.subject.kind
    else:
        name = pick(a.r, P.KINDS + ('door', 'sign'))
        if name == 'door':
            n = sum(s.door is not None for s in f.scenes)
        elif name == 'sign':
            n = sum(bool(s.signs) for s in f.scenes)
        else:
            n = sum(bool(F.things(s, name)) for s in f.scenes)
    return a.turn('frames', _SHOWN, _SHOWN_NEW, str(n), 'number', x=name)


def one_frame(a: Asker, f: Frames) -> Turn:
    """A question about the first, the last or the n-th frame."""
    n = len(f.scenes)
    i = pick(a.r, (0, n - 1, int(a.r.integers(n))))
    words = [f'{_ORDINALS[i]} {w}'
             for w in ('frame', 'image')] + [f'frame {i + 1}', f'image {i + 1}']
    if i == n - 1:
        words += ['last frame', 'last image'] * 2
    w = pick(a.r, words)
    w = w if w[-1].isdigit() else 'the ' + w
    scene = f.scenes[i]
    kind = pick(a.r, ('count', 'exist', 'door', 'where', 'state'))
    if kind == 'door' and scene.door:
        state = pick(a.r, ('open', 'closed'))
        return a.turn('frame', (f'Is the door {state} in {w}?', f'In {w}, is the door {state}?'),
                      (), F.yes_no(scene.door.open == (state == 'open')), 'yes_no')
    if kind == 'state' and scene.door:
        return a.turn(
            'frame',
            (f'Is the door open or closed in {w}?', f'What is the state of the door in {w}?'), (),
            'Open.' if scene.door.open else 'Closed.')
    if kind == 'where' and f.subject is not None:
        name = F.noun(f.subject)
        there = [t for t in scene.things if F.noun(t) == name]
        answer = F.where(there[0].column, there[0].near) if there else f'There is no {name}.'
        return a.turn('frame', (f'Where is the {name} in {w}?', f'In {w}, where is the {name}?'),
                      (), answer)
    subject = f.subject if f.subject is not None and a.r.random() < .6 else None
    thing = subject.kind if subject else pick(a.r, P.KINDS)
    count = len(F.things(scene, thing))
    if kind == 'exist':
        return a.turn('frame', (f'Is there a {thing} in {w}?', f'Do you see a {thing} in {w}?'), (),
                      F.yes_no(count > 0), 'yes_no')
    many = P.PLURAL[thing]
    return a.turn('frame', (f'How many {many} are in {w}?', f'How many {many} are there in {w}?',
                            f'In {w}, how many {many} do you see?'), (), str(count), 'number')


def constant(a: Asker, f: Frames) -> Turn | None:
    """A plain question whose answer is the same in every frame."""
    if f.scenes[0].door and f.kind not in ('opened', 'closed') and a.r.random() < .5:
        return a.turn('frame', _DOOR[:2], (), 'Open.' if f.scenes[0].door.open else 'Closed.')
    kind = pick(a.r, P.KINDS)
    counts = {len(F.things(s, kind)) for s in f.scenes}
    if len(counts) > 1:
        return None
    return a.turn('frame', _COUNT[:4], (), str(counts.pop()), 'number', xs=P.PLURAL[kind])


def frame_turns(a: Asker, f: Frames) -> list[Turn]:
    """Several turns about the frames, each on its own."""
    turns = [
        change(a, f),
        change(a, f),
        change_yes_no(a, f),
        change_yes_no(a, f),
        shown(a, f),
        shown(a, f),
        one_frame(a, f),
        one_frame(a, f),
        constant(a, f)]
    return [t for t in turns if t is not None]
