# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The world's pictures are what their ground truth says, without borderline cases."""

import numpy as np
import pytest

from training.pack import GRID, KINDS, LETTERS, dense_labels
from training.world import palette as P
from training.world.change import random_frames
from training.world.draw import draw_scene
from training.world.lens import INPUT, camera_image, model_input, outside_kind, quick_image
from training.world.scene import Scene, covered, extent, heldout_text, random_camera, random_scene

BANDS = {'left': (0, .36), 'center': (.38, .62), 'right': (.64, 1)}


def scenes(count, train=True):
    return [random_scene(np.random.default_rng(i), train) for i in range(count)]


def test_things_are_clearly_left_center_or_right_and_near_or_far():
    for scene in scenes(300):
        cam = scene.camera
        for t in scene.things:
            u0, _, u1, v1 = extent(t, cam)
            low, high = BANDS[t.column]
            assert low < (u0 + u1) / 2 / cam.aspect < high
            depth = t.z - cam.z
            assert depth < 2.7 if t.near else depth > 3.8


def test_no_thing_hides_much_of_another_or_of_a_sign():
    for scene in scenes(300):
        boxes = [(t.z, extent(t, scene.camera)) for t in scene.things]
        for za, a in boxes:
            for zb, b in boxes:
                assert za >= zb or covered(a, b) < .28


def test_training_never_draws_the_sign_texts_of_the_test():
    texts = [s.text for scene in scenes(1500) for s in scene.signs]
    assert len(texts) > 500 and not any(heldout_text(t) for t in texts)
    assert any(heldout_text(s.text) for scene in scenes(300, False) for s in scene.signs)


def test_a_seed_always_gives_the_same_picture():
    a, b = (quick_image(random_scene(np.random.default_rng(5)), np.random.default_rng(6))[0]
            for _ in range(2))
    assert np.array_equal(a, b) and a.shape == (INPUT, INPUT, 3)


def test_cameras_deliver_their_own_shapes_and_the_model_one_shape():
    shapes = set()
    for i, scene in enumerate(scenes(40)):
        picture, _ = camera_image(scene, np.random.default_rng(i))
        shapes.add(picture.shape)
        assert model_input(picture).shape == (INPUT, INPUT, 3)
    assert shapes == {(480, 640, 3), (360, 640, 3), (480, 480, 3)}


def test_pictures_that_are_not_of_this_world_have_no_labels():
    r = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        scene = Scene(random_camera(r), 6.0, outside=outside_kind(r))
        seen.add(scene.outside)
        picture, labels = camera_image(scene, r)
        assert picture.dtype == np.uint8 and not labels.things and not labels.letters
    assert len(seen) == 7


def test_a_thing_shows_its_colour_where_its_label_says():
    strongest = {'red': 0, 'green': 1, 'blue': 2}
    found = 0
    for scene in scenes(600):
        if len(scene.things) != 1 or scene.things[0].colour not in strongest:
            continue
        picture, labels = draw_scene(scene, 256, 256)
        thing = scene.things[0]
        if thing.kind not in ('box', 'ball'):
            continue
        _, u0, v0, u1, v1, _ = next(t for t in labels.things if t[0].startswith(thing.kind))
        x, y = int((u0 + u1) * 128), int((v0 * .35 + v1 * .65) * 256)
        assert picture[y, x].argmax() == strongest[thing.colour]
        found += 1
    assert found > 5


def test_dense_labels_name_things_and_characters():
    for scene in scenes(100):
        _, labels = quick_image(scene, np.random.default_rng(1))
        cover, centre = (np.zeros((GRID, GRID), np.uint8) for _ in range(2))
        letters = np.zeros((GRID, GRID, 4), np.uint8)
        dense_labels(labels, cover, centre, letters)
        names = {KINDS[k - 1] for k in np.unique(cover) if k}
        assert names <= {t[0] for t in labels.things}
        if len(scene.signs) == 1 and scene.signs[0].legible:
            written = {LETTERS[k - 1] for k in np.unique(letters) if k}
            assert written <= set(scene.signs[0].text)


@pytest.mark.parametrize('count', [2, 5, 8])
def test_first_and_last_frame_differ_by_what_the_text_says(count):
    for i in range(80):
        f = random_frames(np.random.default_rng(i), count)
        first, last = f.scenes[0], f.scenes[-1]
        assert len(f.scenes) == count
        a = {(t.kind, t.colour, t.column) for t in first.things}
        b = {(t.kind, t.colour, t.column) for t in last.things}
        grown = len(last.things) - len(first.things)
        assert grown == {'appeared': 1, 'gone': -1}.get(f.kind, 0)
        assert (a == b) == (f.kind in ('none', 'opened', 'closed'))
        if f.kind in ('opened', 'closed'):
            assert last.door.open == (f.kind == 'opened') != first.door.open
        if f.subject is not None and f.kind != 'moved':
            name = (f.subject.kind, f.subject.colour)
            assert f.shown == sum(any((t.kind, t.colour) == name for t in s.things)
                                  for s in f.scenes)


def test_every_colour_has_a_value_for_every_kind():
    for colours in (P.BOX_COLOURS, P.BALL_COLOURS, P.SHIRT_COLOURS, P.DOOR_COLOURS):
        assert set(colours) <= set(P.COLOURS)
