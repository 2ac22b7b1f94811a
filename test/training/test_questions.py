# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers follow from the scene, and the test's phrasings stay out of training."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from training.pack import IMAGE, PAD_SEGMENT, fields, pack
from training.prompt import SYSTEM, Prompter
from training.questions.asking import Asker, Turn, phrases
from training.questions.nouns import NEW_NOUNS, NOUNS
from training.questions.samples import SKILLS, frames_sample, single_sample
from training.questions.structured import KEY_TYPES, KEYS, instruction, value
from training.scoring import Score, facts_of, right, table
from training.world import facts as F
from training.world.scene import random_scene

TYPES = {'integer': int, 'boolean': bool, 'string': str, 'array of strings': list}


def turns(train, count=400):
    for i in range(count):
        r = np.random.default_rng([i, 8])
        s = single_sample(r, train) if i % 4 else frames_sample(r, 2 + i % 7, train)
        for chat in s.chats + s.blind:
            yield from chat


def test_training_never_asks_in_the_words_kept_for_the_test():
    assert not any(t.unseen for t in turns(True))
    unseen = sum(t.unseen for t in turns(False))
    assert unseen > 500


def test_sections_for_the_test_share_no_phrasing_with_training():
    for name in ('exist', 'count', 'colour', 'where', 'read', 'door', 'hazards', 'describe',
                 'change', 'frames that show', 'unknown'):
        seen, kept = phrases(name), phrases(f'{name}, test only')
        assert len(seen) >= 8 and kept and not set(seen) & set(kept)
    assert not set(NOUNS) & set(NEW_NOUNS)


def test_every_skill_is_asked_and_yes_and_no_are_balanced():
    asked = Counter(t.skill for t in turns(True))
    assert set(asked) == set(SKILLS)
    said = Counter(t.answer for t in turns(True) if t.skill in ('exist', 'change_yes_no', 'door'))
    assert .42 < said['Yes.'] / (said['Yes.'] + said['No.']) < .58


def test_json_answers_parse_and_have_the_documented_types():
    checked = 0
    for i in range(300):
        scene = random_scene(np.random.default_rng(i))
        for key in KEYS:
            try:
                v = value(scene, key)
            except KeyError:
                continue
            kind = KEY_TYPES[key]
            if kind == 'string or null':
                assert v is None or isinstance(v, str)
            else:
                assert type(v) is TYPES[kind], key
            checked += 1
    assert checked > 5000
    for t in turns(True):
        if t.skill == 'json':
            assert isinstance(json.loads(t.answer), dict)


def test_the_instruction_lists_the_keys_in_order():
    assert instruction(['door', 'boxes']) == 'Answer in JSON with the keys: door, boxes.'


def test_a_description_states_its_own_facts_and_no_others():
    texts = {F.description(random_scene(np.random.default_rng(i))) for i in range(300)}
    by_facts = {}
    for text in texts:
        assert by_facts.setdefault(facts_of(text), text) == text
    truth = Turn('describe', 'Describe the scene.',
                 'A room with 2 boxes and a cone. The floor is wet.')
    assert right(truth, 'A room with a cone and 2 boxes. The floor is wet.')
    assert not right(truth, 'A room with 3 boxes and a cone. The floor is wet.')
    assert not right(truth, 'A room with 2 boxes and a cone.')


def test_scores_count_and_confusions_show_what_was_said():
    score = Score()
    score.add(Turn('count', 'How many boxes?', '3'), '2')
    score.add(Turn('exist', 'Is there a box?', 'Yes.'), 'Yes.')
    result = score.as_dict()
    assert result['percent'] == {'count': 0.0, 'all': 50.0, 'seen phrasing': 50.0, 'exist': 100.0,
                                 'yes_no': 100.0}
    assert '| 3 | 0 | 1 |' in table(result['confusion']['count'])
    assert result['wrong'] == [('count', 'How many boxes?', '3', '2')]


def test_careless_typing_keeps_the_question():
    a = Asker(np.random.default_rng(0), True)
    asked = {a.careless('How many boxes are there?', 'number') for _ in range(400)}
    assert len(asked) > 15 and all('box' in q for q in asked)


def test_packed_chats_start_after_the_images_and_learn_only_answers(tokenizer):
    sample = single_sample(np.random.default_rng(4), True)
    rows = {n: np.zeros(s[2:], d) for n, (s, d) in fields(1, 1, 1).items() if len(s) == 3}
    p = Prompter(tokenizer)
    placed = pack(p, np.random.default_rng(0), 1, sample.chats, [[Turn('blind', 'Hi', 'Hello!')]],
                  rows, SYSTEM)
    assert (rows['tokens'] == IMAGE).sum() == 64
    for branch, turn in placed:
        if turn.skill == 'chat':
            continue
        learnt = rows['tokens'][(rows['segment'] == branch) & (rows['skill'] > 0)]
        assert turn.answer in tokenizer.decode(learnt.tolist())
    assert not rows['weight'][(rows['segment'] == 0) | (rows['segment'] == PAD_SEGMENT)].any()
    blind = next(b for b, t in placed if t.skill == 'blind')
    assert rows['seen'][rows['segment'] == blind].max() < np.argmax(rows['tokens'] == IMAGE)


def test_the_readme_lists_every_key_under_its_type():
    rows = (Path(__file__).parents[2] / 'training/README.md').read_text().splitlines()
    for key, kind in KEY_TYPES.items():
        assert any(r.startswith(f'| {kind} |') and f'`{key}`' in r for r in rows), key
