# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of runs that were never run: rows of known truth and known mistakes, seeded."""
import json
from pathlib import Path
from typing import Dict, List

import numpy as np

from nanovlm_ros.bag import scoring

SECOND = 1_000_000_000  # ns
START = 1_700_000_000 * SECOND
CAMERA = '/camera/image'
DOORS = ['open', 'closed', 'ajar']
SIGNS = ['EXIT 12', 'UNIT 62', 'KEEP OUT', 'LAB 3']


def question(name: str, score: str, **changes) -> dict:
    """Return a normalised question."""
    return {'id': name, 'phrasings': [f'{name}?'], 'json_schema': None, 'source': 'latest',
            'window_frames': 1, 'window_period_s': 0.0, 'window_mode': 'rolling', 'cameras': [],
            'period_s': 0.0, 'stamps': [], 'score': score, 'choices': [], 'tolerance': 0.0,
            'field_scores': {}, 'event': '', 'truth': {'labels': 'labels.jsonl', 'field': name},
            'system_prompt': '', 'max_new_tokens': 32, **changes}


def questions() -> List[dict]:
    """Return a question of each kind."""
    return [
        question('person', 'yes_no', event='Yes.',
                 phrasings=['Is there a person?', 'Is anyone there?']),
        question('door', 'choice', choices=DOORS, phrasings=['Is the door open?']),
        question('boxes', 'number', phrasings=['How many boxes are there?']),
        question('sign', 'text_distance', phrasings=['What does the sign say?']),
        question('report', 'json', json_schema={'type': 'object'}, phrasings=['Report.'],
                 event='{"door": "open"}'),
        question('scene', 'normalised', phrasings=['Describe the scene.']),
        question('free', 'exact', truth=None, phrasings=['What is odd here?'])]


def rows(stamps: int = 200, right: float = 0.9, seed: int = 0, scene: int = 20,
         bag: str = 'drive') -> List[dict]:
    """Return rows at 10 Hz; the truth changes every `scene` stamps, answers err alone."""
    random = np.random.default_rng(seed)
    truths = np.random.default_rng(99)  # the same world whatever the answers
    found, world = [], {}
    for i in range(stamps):
        if i % scene == 0:
            world = {'person': ['Yes.', 'No.'][truths.integers(2)],
                     'door': DOORS[truths.integers(3)], 'boxes': int(truths.integers(6)),
                     'sign': SIGNS[truths.integers(4)]}
            world['report'] = {'door': world['door'], 'boxes': world['boxes']}
            world['scene'] = f'A room with {world["boxes"]} boxes.'
        for asked in questions():
            for phrasing in range(len(asked['phrasings'])):
                said = _said(asked, world, random, right)
                found.append(row(asked, i, said, world.get(asked['id']), phrasing, random, bag))
    return found


def _said(asked: dict, world: dict, random, right: float):
    truth = world.get(asked['id'], '<b>Nothing & no one</b>')
    if random.random() < right:
        return truth
    if asked['id'] == 'sign':
        return truth[:-1] + '?'
    if asked['id'] == 'report':
        return {**truth, 'boxes': truth['boxes'] + 1} if random.random() < 0.7 else None
    wrong = {'person': ['No.' if truth == 'Yes.' else 'Yes.', 'Maybe.'], 'door': DOORS,
             'boxes': [truth + 1 if asked['id'] == 'boxes' else 0, 'many']}.get(asked['id'], ['?'])
    others = [w for w in wrong if w != truth]
    return others[random.integers(len(others))]


def row(asked: dict, number: int, said, truth, phrasing: int, random, bag: str) -> dict:
    """Return a row as the evaluator writes it."""
    document = ''
    if asked['score'] == 'json':
        document = '' if said is None else json.dumps(said)
        said = '{"door": "op' if said is None else document
    stamp = START + number * SECOND // 10
    text = str(said)
    decode, tokens = 0.002 + 0.004 * random.random(), 4
    return {
        'bag': bag, 'question': asked['id'], 'phrasing': phrasing,
        'prompt': asked['phrasings'][phrasing], 'prompt_hash': '0123456789ab', 'camera': CAMERA,
        'stamp_ns': stamp, 'log_ns': stamp + 3_000_000, 'frame_id': 'camera_optical_frame',
        'images': [{'stamp_ns': stamp, 'log_ns': stamp + 3_000_000,
                    'frame_id': 'camera_optical_frame', 'camera': CAMERA,
                    'width': 64, 'height': 48}],
        'text': text, 'json': document,
        'json_status': ('NOT_REQUESTED' if asked['json_schema'] is None else
                        'VALID' if document else 'TRUNCATED'),
        'finish_reason': 'stop', 'error_code': 0, 'error_message': '', 'prompt_tokens': 106,
        'image_tokens': 64, 'completion_tokens': tokens, 'truth': truth,
        'score': None if truth is None else scoring.score(asked, text, document, truth),
        'model': 'demo', 'config': 'c0ffee',
        'measured': {'first_token_s': 0.03 + 0.02 * random.random(),
                     'total_s': 0.04 + 0.03 * random.random(), 'queued_s': 0.001,
                     'vision_s': 0.02, 'prefill_s': 0.008, 'decode_s': decode,
                     'cached_tokens': 90}}


def as_replay(some: List[dict], keep: int = 3) -> tuple:
    """Return (rows, dropped) in which every `keep`-th stamp is answered, with ages."""
    kept, dropped = [], []
    for one in some:
        number = round((one['stamp_ns'] - START) / (SECOND / 10))
        if number % keep == 0:
            age = 0.05 + one['measured']['total_s']
            kept.append({**one, 'measured': {**one['measured'], 'age_s': age, 'answered_ns':
                                             one['stamp_ns'] + round(age * SECOND)}})
        elif one['phrasing'] == 0:
            dropped.append({name: one[name] for name in (
                'bag', 'camera', 'stamp_ns', 'log_ns', 'question')}
                | {'reason': 'stale' if number % 7 == 0 else 'busy'})
    return kept, dropped


def run(some: List[dict], mode: str = 'throughput', bag_path: str = 'drive.mcap') -> dict:
    """Return the run.json of rows."""
    names = sorted({one['bag'] for one in some})
    return {'config': 'c0ffee', 'model': 'demo', 'quantization': 'q4f16_1',
            'context_length': 1024, 'mode': mode,
            'bags': [{'name': name, 'path': bag_path, 'start_ns': START,
                      'end_ns': max(one['log_ns'] for one in some if one['bag'] == name)}
                     for name in names],
            'questions': questions(), 'sampling': {'every': 1}, 'version': '0.1.0',
            'replay': {'cost_s': 0.3} if mode == 'replay' else None,
            'planned_rows': None if mode == 'replay' else len(some)}


def write(folder: Path, some: List[dict], dropped=(), measured=None, **changes) -> Path:
    """Write the folder of a run; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    mode = 'replay' if dropped else 'throughput'
    (folder / 'run.json').write_text(json.dumps({**run(some, mode), **changes}))
    _lines(folder / 'results.jsonl', some)
    if dropped:
        _lines(folder / 'dropped.jsonl', dropped)
    if measured:
        (folder / 'measured.json').write_text(json.dumps(measured))
    return folder


def _lines(path: Path, some) -> None:
    path.write_text(''.join(json.dumps(one, ensure_ascii=False) + '\n' for one in some))


def picture(one: Dict) -> List[np.ndarray]:
    """Return the images of a row: gray, with a bar that moves with its number."""
    found = []
    for image in one['images']:
        rgb = np.full((image['height'], image['width'], 3), 90, np.uint8)
        number = round((image['stamp_ns'] - START) / (SECOND / 10))
        rgb[:, number % image['width']] = (250, 180, 40)
        found.append(rgb)
    return found
