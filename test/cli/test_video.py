# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm video`: real mp4 files in and out; the model is a fake but in the last test."""
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from films import Asked, grays, images, numbers, play, read_video, write_video

from nanovlm_ros.types import ErrorCode, NanoVlmError

sys.path.insert(0, str(Path(__file__).parents[2]))  # training


# -- questions ----------------------------------------------------------------------------------

def test_each_prompt_is_asked_about_the_frames_of_the_exact_window(model, film, capsys):
    asked = Asked(model)
    assert play(film, '--window-mode', 'exact', '--max-images', 2, prompts=('a', 'b')) == 0
    windows = [[0], [0, 10], [10, 20], [20, 30]]
    assert asked == [(prompt, window) for window in windows for prompt in 'ab']
    assert capsys.readouterr().out.splitlines() == [
        f'0:{second:04.1f}  {prompt}  saw {",".join(map(str, window))}'
        for second, window in enumerate(windows) for prompt in 'ab']
    assert model.closed


def test_a_rolling_window_grows_then_goes_on_with_its_newer_half(model, film):
    asked = Asked(model)
    assert play(film, '--max-images', 4, '--period', 0.5) == 0
    assert [seen for _, seen in asked] == [
        [0], [0, 5], [0, 5, 10], [0, 5, 10, 15], [10, 15, 20], [10, 15, 20, 25],
        [20, 25, 30], [20, 25, 30, 35]]


def test_a_question_names_the_generation_that_the_model_was_told_to_keep(model, film, monkeypatch):
    opened = []
    real = model.open
    monkeypatch.setattr(model, 'open', lambda prompt, generation=0: (
        opened.append((generation, prompt.frames)), real(prompt, generation))[1])
    assert play(film, '--max-images', 4) == 0
    told = [generations[0] for _, generations, rolling in model.watched if rolling]
    assert [(n, list(frames)) for n, frames in told] == [(n, list(f)) for n, f in opened]
    assert all(number for number, _ in opened)


def test_an_exact_window_names_no_generation(model, film, monkeypatch):
    opened, real = [], model.open
    monkeypatch.setattr(model, 'open', lambda prompt, generation=0: (
        opened.append(generation), real(prompt, generation))[1])
    assert play(film, '--window-mode', 'exact') == 0
    assert set(opened) == {0} and not any(rolling for *_, rolling in model.watched)


def test_a_period_of_0_asks_about_every_frame(model, tmp_path):
    asked = Asked(model)
    assert play(write_video(tmp_path / 'film.mp4', grays(5)), '--period', 0, '--max-images', 1) == 0
    assert [seen for _, seen in asked] == [[0], [1], [2], [3], [4]]


def test_a_schema_brings_json_and_max_new_tokens_bounds_an_answer(model, film, tmp_path, capsys):
    schema = tmp_path / 'schema.json'
    schema.write_text('{"type": "object", "properties": {"a": {"type": "boolean"}}, '
                      '"required": ["a"], "additionalProperties": false}')
    model.reply = lambda turns: '{"a": true}'
    assert play(film, '--json-schema', schema) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line.split('  ')[-1]) for line in lines] == [{'a': True}] * 4
    model.reply = lambda turns: ' 0123456789'
    assert play(film, '--max-new-tokens', 5) == 0
    assert capsys.readouterr().out.splitlines()[0] == '0:00.0  What?  0123'


def test_an_answer_that_fails_is_told_and_the_film_goes_on(model, film, tmp_path, capsys):
    def reply(turns):
        if numbers(turns)[-1] == 10:
            raise NanoVlmError(ErrorCode.OUT_OF_MEMORY, 'There is no room.')
        return ' fine'

    model.reply = reply
    assert play(film, output=tmp_path / 'out.mp4') == 1
    captured = capsys.readouterr()
    assert 'nanovlm: 0:01.0  What?  There is no room.' in captured.err
    assert '1 without an answer' in captured.err
    assert captured.out.count('fine') == 3
    assert len(read_video(tmp_path / 'out.mp4')[0]) == 40


# -- the output ---------------------------------------------------------------------------------

@pytest.mark.parametrize('fps', [10.0, 29.97])
def test_the_output_has_the_size_rate_and_frames_of_the_input(model, tmp_path, fps, capsys):
    film = write_video(tmp_path / 'film.mp4', grays(35), fps)
    assert play(film, output=tmp_path / 'out.mp4') == 0
    frames, rate = read_video(tmp_path / 'out.mp4')
    assert len(frames) == 35 and {frame.shape for frame in frames} == {(240, 320, 3)}
    assert rate == pytest.approx(fps, abs=0.01)
    assert '35 frames' in capsys.readouterr().err


def test_the_newest_answers_are_drawn_in_the_band_and_nowhere_else(model, film, tmp_path):
    assert play(film, output=tmp_path / 'out.mp4', prompts=('a?', 'b?')) == 0
    before, after = read_video(film)[0], read_video(tmp_path / 'out.mp4')[0]
    for number, (plain, drawn) in enumerate(zip(before, after)):
        # Nothing above, where both are one gray; white letters in the band below.
        assert np.abs(plain[:160].astype(int) - drawn[:160]).max() <= 8
        assert drawn[-30:].max() > 150 + plain.max() / 4
        if number >= 10:  # around the letters it is darker than it was
            assert drawn[-3:].mean() < 0.6 * plain.mean()


def test_a_frame_shows_the_answer_about_itself(model, film, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr('nanovlm_ros.imaging.draw',
                        lambda image, lines: (drawn.append(list(lines)), image)[1])
    Asked(model)
    assert play(film, '--max-images', 1, output=tmp_path / 'out.mp4') == 0
    assert drawn == [[f'What? saw {number // 10 * 10}'] for number in range(40)]


def test_an_odd_size_loses_a_row_and_says_so(model, tmp_path, capsys):
    folder = images(tmp_path, 3, (33, 25))
    assert play(folder, output=tmp_path / 'out.mp4') == 0
    assert read_video(tmp_path / 'out.mp4')[0][0].shape == (24, 32, 3)
    assert '33 x 25' in capsys.readouterr().err


def test_a_disk_that_is_full_is_told_of(model, film, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=0))
    assert play(film, output=tmp_path / 'out.mp4') == 1
    assert 'disk is full' in capsys.readouterr().err


def test_a_file_that_does_not_hold_what_was_written_is_told_of(model, tmp_path, capsys):
    r = np.random.default_rng(0)
    film = write_video(tmp_path / 'film.mp4', [
        r.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(10)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        code = play(film, output=tmp_path / 'out.mp4')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1 and '10 frames were written' in capsys.readouterr().err


# -- its end ------------------------------------------------------------------------------------

def test_ctrl_c_leaves_a_film_that_plays_and_130(model, film, tmp_path, capsys):
    def reply(turns):
        if numbers(turns)[-1] == 20:
            os.kill(os.getpid(), signal.SIGINT)  # while the main thread waits for this answer
            time.sleep(0.2)
        return ' fine'

    model.reply = reply
    assert play(film, output=tmp_path / 'out.mp4') == 130
    assert len(read_video(tmp_path / 'out.mp4')[0]) == 20
    assert 'Stopped.' in capsys.readouterr().err and model.closed


# -- the model that ships -----------------------------------------------------------------------

@pytest.mark.parametrize('mode', ['rolling', 'exact'])
def test_the_demo_model_says_what_happens_in_a_drawn_video(tmp_path, capsys, mode):
    from training.world.lens import camera_image
    from training.world.watch import random_watch

    r = np.random.default_rng(5)
    watch = random_watch(r, 24, quiet=7, train=False)
    film = write_video(tmp_path / 'film.mp4', [
        camera_image(scene, r)[0] for scene in watch.scenes], fps=1.0)
    assert play(film, '--window-mode', mode, prompts=['What changed?', 'Is there a box?'],
                output=tmp_path / 'out.mp4') == 0
    lines = [line.split('  ') for line in capsys.readouterr().out.splitlines()]
    assert sorted((at, prompt) for at, prompt, _ in lines) == [
        (f'0:{n:04.1f}', prompt) for n in range(24) for prompt in (
            'Is there a box?', 'What changed?')]
    said = [text for _, prompt, text in lines if prompt == 'What changed?']
    for event in watch.events:
        assert event.text in said[event.frame:event.frame + 4], (event, said)
    assert len(read_video(tmp_path / 'out.mp4')[0]) == 24
