# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON answers: the keys that the model knows, their types and their values."""

from __future__ import annotations

import json

from training.questions.asking import Asker, Turn, phrases
from training.questions.nouns import NOUNS, invented
from training.world import facts as F
from training.world.lettering import pick
from training.world.scene import Scene

_COUNT_KEYS = {
    'boxes': 'box', 'box_count': 'box', 'num_boxes': 'box', 'balls': 'ball', 'ball_count': 'ball',
    'num_balls': 'ball', 'cones': 'cone', 'cone_count': 'cone', 'num_cones': 'cone',
    'people': 'person', 'person_count': 'person', 'people_count': 'person', 'num_people': 'person'}
_COLOUR_KEYS = {'box_color': 'box', 'ball_color': 'ball', 'shirt_color': 'person'}
_PLACE_KEYS = {
    'box_position': 'box', 'ball_position': 'ball', 'person_position': 'person',
    'cone_position': 'cone'}
_PRESENT_KEYS = {
    'box_present': 'box', 'ball_present': 'ball', 'cone_present': 'cone',
    'person_present': 'person'}
# Key -> JSON type, for documentation and tests.
KEY_TYPES = {
    **dict.fromkeys(('door', 'door_state', 'sign', 'sign_text', 'text', 'door_color',
                     'sign_color', 'door_position', 'sign_position', *_COLOUR_KEYS,
                     *_PLACE_KEYS), 'string or null'),
    'description': 'string',
    **dict.fromkeys(_COUNT_KEYS, 'integer'),
    **dict.fromkeys(('door_open', 'door_present', 'sign_present', 'hazard', 'wet_floor', 'cable',
                     'puddle', 'way_clear', 'path_clear', *_PRESENT_KEYS), 'boolean'),
    'hazards': 'array of strings',
}
KEYS = tuple(KEY_TYPES)
# Keys that people use most are asked most.
_COMMON = ('door', 'boxes', 'sign', 'people', 'balls', 'cones', 'hazards', 'hazard', 'wet_floor',
           'door_open', 'sign_text', 'text', 'person_present', 'door_state', 'description')
_LEAD = phrases('json lead')
_LEAD_NEW = phrases('json lead, test only')
_VERBS = ('Return', 'Give me', 'Output', 'Report', 'Extract', 'Show', 'Provide', 'Write', 'Send',
          'I want', 'I need', 'Print', 'Give', 'Create', 'Produce')
_FORMS = ('{k} in JSON', 'JSON with {k}', 'JSON with the keys {k}', 'a JSON with {k}',
          'the keys {k} as JSON', 'a JSON object with the keys {k}', '{k} as a JSON object',
          '{k} formatted as JSON', '{k} in JSON format', 'JSON: {k}', 'a JSON object: {k}',
          '{k} from the image as JSON')
_OWN_WORDS = (*(f'{v} {f}.' for v in _VERBS
                for f in _FORMS), 'Answer as JSON: {k}.', 'JSON with {k}.',
              *(v + ' {k} as JSON.'
                for v in ('Report', 'Show', 'Provide', 'I need', 'Write', 'Print') * 4),
              'As JSON: {k}.', 'Answer with JSON: {k}.', 'What are {k}? Answer in JSON.',
              'JSON please: {k}.')
_OWN_WORDS_NEW = phrases('json own words, test only')
_TEXT_JSON = phrases('json of the text')
_SCENE_JSON = phrases('json of the scene')
_SCENE_KEYS = ('door', 'boxes', 'balls', 'cones', 'people', 'sign', 'wet_floor')


def value(scene: Scene, key: str):
    """The value of a key, or KeyError where the scene does not settle it."""
    if key in _COUNT_KEYS:
        return len(F.things(scene, _COUNT_KEYS[key]))
    if key in _PRESENT_KEYS:
        return bool(F.things(scene, _PRESENT_KEYS[key]))
    if key in _COLOUR_KEYS or key in _PLACE_KEYS:
        found = F.things(scene, _COLOUR_KEYS.get(key) or _PLACE_KEYS[key])
        if len(found) > 1:
            raise KeyError(key)
        if not found:
            return None
        return found[0].colour if key in _COLOUR_KEYS else found[0].column
    if key in ('sign', 'sign_text', 'text'):
        if not F.legible(scene):
            return None
        return F.sign_text(scene) or None
    if key in ('sign_color', 'sign_position'):
        if len(scene.signs) > 1:
            raise KeyError(key)
        if not scene.signs:
            return None
        return scene.signs[0].colour if key == 'sign_color' else scene.signs[0].column
    d = scene.door
    if key in ('door', 'door_state'):
        return None if d is None else 'open' if d.open else 'closed'
    if key in ('door_color', 'door_position'):
        return None if d is None else d.colour if key == 'door_color' else d.column
    if key in ('way_clear', 'path_clear') and scene.outside:
        raise KeyError(key)
    return {
        'door_open': lambda: d is not None and d.open, 'door_present': lambda: d is not None,
        'sign_present': lambda: bool(scene.signs), 'hazard': lambda: bool(F.hazard_list(scene)),
        'hazards': lambda: F.hazard_list(scene),
        'wet_floor': lambda: F.hazard(scene, 'puddle') is not None,
        'puddle': lambda: F.hazard(scene, 'puddle') is not None,
        'cable': lambda: F.hazard(scene, 'cable') is not None,
        'way_clear': lambda: F.way_clear(scene), 'path_clear': lambda: F.way_clear(scene),
        'description': lambda: F.description(scene)}[key]()


def instruction(keys) -> str:
    """The sentence that the engine appends to a question with a JSON schema."""
    return f"Answer in JSON with the keys: {', '.join(keys)}."


def _object(scene: Scene, keys, known: dict | None = None) -> str | None:
    known = known or {}
    try:
        return json.dumps({k: known[k] if k in known else value(scene, k) for k in keys})
    except KeyError:
        return None


def _without_null(answer: str) -> str:
    """The answer as a schema without null would force it: an empty text.

    The first quote of an empty text is not learnt (see pack), only to close it at once.
    """
    return json.dumps({k: '' if v is None else v for k, v in json.loads(answer).items()})


def _unknown_key(a: Asker) -> tuple[str, object]:
    """A key about something that this world does not have, with the value that follows from it."""
    noun = pick(a.r, NOUNS) if not a.train or a.r.random() < .6 else invented(a.r)
    return pick(a.r, ((f'{noun}_count', 0), (f'num_{noun}s', 0), (f'{noun}_present', False),
                      (f'{noun}_color', None), (noun, None), (f'{noun}_position', None)))


def _choose(a: Asker) -> tuple[str, ...]:
    n = int(a.r.choice(6, p=[.12, .22, .26, .22, .12, .06])) + 1
    keys: list[str] = []
    while len(keys) < n:
        key = pick(a.r, _COMMON if a.r.random() < .6 else KEYS)
        if key not in keys:
            keys.append(key)
    return tuple(keys)


def structured(a: Asker, scene: Scene) -> Turn | None:
    """A question that is answered in JSON."""
    x = a.r.random()
    if x < .07:
        answer = _object(scene, ('sign',))
        return a.turn('json', _TEXT_JSON, (), answer)
    if x < .13:
        return a.turn('json', _SCENE_JSON, (), _object(scene, _SCENE_KEYS))
    for _ in range(6):
        keys = _choose(a)
        if a.r.random() < .06:
            key, absent = _unknown_key(a)
            at = int(a.r.integers(len(keys) + 1))
            keys = (*keys[:at], key, *keys[at:])
            answer = _object(scene, keys, {key: absent})
        else:
            answer = _object(scene, keys)
        if answer is None:
            continue
        if a.train and a.r.random() < .12:
            answer = _without_null(answer)
        if x < .34:
            words = [f'"{k}"' for k in keys] if a.r.random() < .1 else keys
            text = words[0] if len(words) == 1 else ', '.join(words[:-1]) + pick(
                a.r, (' and ', ' and ', ', ')) + words[-1]
            return a.turn('json', _OWN_WORDS, _OWN_WORDS_NEW, answer, k=text)
        lead = a.say(_LEAD, _LEAD_NEW)
        unseen = a.unseen
        if lead and a.r.random() < .2:
            lead = a.careless(lead)
        return Turn('json', f'{lead} {instruction(keys)}'.strip(), answer, unseen)
    return None
