# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every family, from its published files to 16 greedy tokens, against transformers.

`pytest -s` prints what was measured.
"""
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'models'))  # families, photographs

from driver import decode, prefill  # noqa: E402
from families import FAMILIES  # noqa: E402
from photographs import rgb  # noqa: E402
from reference import IMAGE, Reference, difference  # noqa: E402

from nanovlm_ros.engine.loader import load, open_checkpoint  # noqa: E402
from nanovlm_ros.models.prompt import Turn  # noqa: E402
from nanovlm_ros.models.vision_encoder import VisionEncoder  # noqa: E402
from nanovlm_ros.types import Frame  # noqa: E402

TOLERANCE = 1e-3
STEPS = 16
PHOTOGRAPHS = ('chelsea.png', 'cell.png', 'coffee.png')  # landscape, portrait, landscape
QUESTION = 'What is shown in this image? Name 3 things,\n  please: na\u00efve \u732b \U0001f916.'


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """A build cache of this module alone: everything is converted and compiled here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('NANOVLM_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='module', params=FAMILIES)
def pair(request, cache, tmp_path_factory):
    """Return the family, our model and encoder of its files, and the reference."""
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp('models') / family.name
    parts = family.make(folder)
    model = load(str(folder), quantization='q0f32', max_sequences=1, trust_pickle=family.pickled)
    yield SimpleNamespace(
        family=family, model=model, reference=Reference(family, parts),
        encoder=VisionEncoder(open_checkpoint(str(folder), trust_pickle=family.pickled)))
    model.close()


def frames(count):
    return tuple(Frame.from_rgb(rgb(name)) for name in PHOTOGRAPHS[:count])


def prompt(pair, turns):
    """Our prompt and the reference's ids of (question, images, answer)."""
    ours = pair.model.tokenize([Turn(question, frames(images), answer)
                                for question, images, answer in turns])
    return ours, pair.reference.ids(turns)


def ids_of(prompt):
    return sum(([IMAGE] if isinstance(s, Frame) else list(s) for s in prompt.segments), [])


def compare(pair, turns):
    """Compare ids, logits and greedy tokens of a prompt; return the greatest difference."""
    ours, ids = prompt(pair, turns)
    assert ids_of(ours) == ids
    sequence, _, logits = prefill(pair.model, ours)
    seen, tokens = [logits.copy()], []
    for _ in range(STEPS):
        tokens.append(int(seen[-1].argmax()))
        seen.append(decode(pair.model, [sequence], tokens[-1:])[0].copy())
    pair.model.release(sequence, keep=False)
    pair.model.reset()
    pictures = [rgb(name) for name in PHOTOGRAPHS[:ids.count(IMAGE)]]
    theirs = pair.reference.logits(ids, pictures, tokens)[:, :pair.model.vocab_size]
    assert theirs.std() > 1, 'the comparison means something'
    assert theirs[:-1].argmax(1).tolist() == tokens
    worst = difference(np.stack(seen), theirs)
    print(f'\n{pair.family.name}, {len(turns)} turns, {ids.count(IMAGE)} images, '
          f'{ours.n_tokens} rows: max |d logits| {worst:.1e} of {np.abs(theirs).max():.0f}, '
          f'{len(set(tokens))} different tokens')
    return worst


@pytest.mark.parametrize('name', PHOTOGRAPHS)
def test_pixels_become_the_rows_of_transformers(pair, name):
    pixels = rgb(name)
    height, width = pixels.shape[:2]
    ours = pair.encoder.encode(pair.encoder.preprocess(pixels), width, height)
    theirs = pair.reference.rows(pixels)
    worst = difference(ours, theirs)
    print(f'\n{pair.family.name}, {name}: {len(theirs)} rows, max |d| {worst:.1e} of '
          f'{theirs.abs().max():.0f}')
    assert worst <= TOLERANCE and theirs.std() > 0.3


def test_a_question_about_an_image_is_answered_as_by_transformers(pair):
    assert compare(pair, [(QUESTION, 1, None)]) <= TOLERANCE


def test_a_question_without_an_image_is_answered_as_by_transformers(pair):
    assert compare(pair, [(QUESTION, 0, None)]) <= TOLERANCE


def test_the_second_turn_of_a_chat_is_answered_as_by_transformers(pair):
    assert compare(pair, [(QUESTION, 1, 'A cat,  asleep.'), ('Where is it?', 0, None)]) <= TOLERANCE


def test_several_images_are_answered_as_by_transformers_or_refused(pair):
    if pair.family.images == 1:
        assert pair.model.max_images == 1
        return
    assert pair.model.max_images >= pair.family.images
    assert compare(pair, [('What differs between these images?', 3, None)]) <= TOLERANCE
