# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What `nanovlm video` reads besides files, and what it says of what it cannot read or write."""
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import GRAY, Asked, grays, images, play, read_video, write_video

from nanovlm_ros.cli import video
from nanovlm_ros.video.sources import open_source


@pytest.mark.parametrize('kind, codec', [('avi', 'MJPG'), ('mkv', 'mp4v'), ('mov', 'mp4v')])
def test_files_of_other_kinds_have_their_frames_rate_and_times(tmp_path, kind, codec):
    path, notes = write_video(tmp_path / f'film.{kind}', grays(40), 29.97, codec), []
    with open_source(path, 1.0, notes.append) as source:
        times = [picture.ns for picture in source]
    assert (source.total, source.live, notes) == (40, False, [])
    assert source.fps == pytest.approx(29.97, abs=0.01)
    np.testing.assert_allclose(times, np.arange(40) / 29.97 * 1e9, atol=1e6)


def test_a_film_that_is_cut_short_is_read_to_where_it_ends_and_told_of(model, tmp_path, capsys):
    asked = Asked(model)
    film = Path(write_video(tmp_path / 'film.avi', grays(40), codec='MJPG'))
    film.write_bytes(film.read_bytes()[:film.stat().st_size // 2])
    assert play(str(film)) == 0
    assert 1 <= len(asked) < 4
    assert re.search(r'film.avi ends after \d+ frames, and its header tells of 40',
                     capsys.readouterr().err)


def test_a_folder_is_a_video_in_the_order_of_its_numbers_one_image_a_period(
        model, tmp_path, capsys):
    asked = Asked(model)
    assert play(images(tmp_path, 12), '--period', 0.5, '--max-images', 1,
                output=tmp_path / 'out.mp4') == 0
    assert [seen for _, seen in asked] == [[n] for n in range(12)]
    frames, rate = read_video(tmp_path / 'out.mp4')
    assert (len(frames), rate) == (12, 2.0)
    assert capsys.readouterr().out.splitlines()[-1].startswith('0:05.5')


def test_an_image_that_is_corrupt_is_left_out_and_named(model, tmp_path, capsys):
    asked, folder = Asked(model), images(tmp_path, 3)
    Path(folder, '1.png').write_bytes(b'nothing')
    assert play(folder, '--max-images', 1) == 0
    assert [seen for _, seen in asked] == [[0], [2]]
    captured = capsys.readouterr()
    assert '1.png is left out' in captured.err
    assert [line.split()[0] for line in captured.out.splitlines()] == ['0:00.0', '0:02.0']


class FakeCamera:
    """In place of cv2.VideoCapture: a gray frame each 20 ms, then nothing any more."""

    frames, opens = 30, True

    def __init__(self, address, backend):
        self.address, self.backend, self.count = address, backend, 0

    def isOpened(self):
        return self.opens

    def get(self, _):
        return 50.0

    def read(self):
        time.sleep(0.02)
        self.count += 1
        return self.count <= self.frames, np.full((240, 320, 3), GRAY * self.count, np.uint8)

    def release(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    """Every camera of video.live_camera is this one."""
    kind = type('Camera', (FakeCamera,), {})
    fake = type('cv2', (), {'VideoCapture': kind})
    for name in ('CAP_FFMPEG', 'CAP_V4L2', 'CAP_PROP_FPS'):
        setattr(fake, name, getattr(cv2, name))
    monkeypatch.setattr('nanovlm_ros.video.live_camera.cv2', fake)
    return kind


def test_a_live_camera_drops_what_comes_too_fast_and_its_film_keeps_its_time(
        model, camera, tmp_path, monkeypatch, capsys):
    real = video.Bar.frame
    monkeypatch.setattr(video.Bar, 'frame', lambda bar: (time.sleep(0.1), real(bar))[1])
    assert play('rtsp://user:secret@host/stream', '--period', 0, output=tmp_path / 'out.mp4') == 0
    err = capsys.readouterr().err
    dropped, taken = (int(re.search(pattern, err).group(1)) for pattern in (
        r'(\d+) frames dropped', r'(\d+) frames \('))
    assert dropped >= 10 and 22 <= dropped + taken <= 30
    assert 'rtsp://host/stream gives no more pictures' in err and 'secret' not in err
    frames, rate = read_video(tmp_path / 'out.mp4')
    assert rate == 50 and taken < len(frames) <= 60  # 0.6 s or somewhat more, on a slow machine


def test_a_live_camera_does_not_wait_for_answers(model, camera, tmp_path, capsys):
    model.token_seconds = 0.03
    asked = Asked(model)
    assert play('rtsp://host', '--period', 0.04, '--max-images', 2) == 0
    missed = int(re.search(r'(\d+) windows not asked about', capsys.readouterr().err).group(1))
    assert missed >= 5
    newest = [seen[-1] for _, seen in asked]
    assert 2 <= len(newest) <= 6 and newest == sorted(set(newest))


# -- what cannot be -----------------------------------------------------------------------------

def test_what_is_no_video_is_one_sentence_and_1(model, film, tmp_path, capsys, camera):
    camera.opens = False
    (tmp_path / 'empty').mkdir()
    for name, content in (('text.txt', b'hello\n' * 99), ('bad.mp4', b'nonsense' * 99),
                          ('nothing.mp4', b'')):
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'blind.mp4').write_bytes(blind(Path(film).read_bytes()))
    for source, said in (
            ('missing.mp4', 'missing.mp4 cannot be read: No such file'),
            ('/dev/video99', 'cannot be read: No such file'),
            ('/dev/null', 'The camera /dev/null cannot be opened'),
            ('rtsp://a:b@host', 'The camera rtsp://host cannot be opened'),
            ('gopher://host', 'use rtsp://'),
            (str(tmp_path / 'empty'), 'holds no image'),
            (str(tmp_path / 'text.txt'), 'not a video'),
            (str(tmp_path / 'bad.mp4'), 'not a video'),
            (str(tmp_path / 'nothing.mp4'), 'not a video'),
            (str(tmp_path / 'blind.mp4'), 'no picture of it can be decoded')):
        assert play(source) == 1, source
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith('nanovlm: ') and said in last, source


def blind(film):
    """Return an mp4 whose pictures are zeros."""
    start = film.index(b'mdat') + 4
    size = int.from_bytes(film[start - 8:start - 4], 'big') - 8
    return film[:start] + bytes(size) + film[start + size:]


def test_an_output_that_cannot_be_is_one_sentence_and_harms_nothing(model, film, tmp_path, capsys):
    (tmp_path / 'folder.mp4').mkdir()
    (tmp_path / 'link.mp4').symlink_to(film)
    before = Path(film).read_bytes()
    for target, said in ((tmp_path / 'no' / 'out.mp4', 'No such file'),
                         (tmp_path / 'folder.mp4', 'Is a directory'),
                         (tmp_path / 'out.gif', 'does not end in .mp4'),
                         (Path(film), 'is the input'), (tmp_path / 'link.mp4', 'is the input')):
        assert play(film, output=target) == 1, target
        assert said in capsys.readouterr().err, target
    assert Path(film).read_bytes() == before
    assert play(film, '--max-images', 99, output=tmp_path / 'out.mp4') == 1
    assert '--max-images is 99' in capsys.readouterr().err
    assert play(film, output=tmp_path / 'out.mp4', prompts=[' ']) == 1
    assert 'prompt is empty' in capsys.readouterr().err
    assert play(film, '--json-schema', film, output=tmp_path / 'out.mp4') == 1
    assert 'film.mp4 cannot be read: it is not UTF-8' in capsys.readouterr().err
    assert not (tmp_path / 'out.mp4').exists()


@pytest.mark.parametrize('arguments', [
    ['--max-images', '0'], ['--period', '-1'], ['--period', 'nan'], ['--period', 'inf'],
    ['--max-new-tokens', '0'], ['--window-mode', 'round']])
def test_wrong_numbers_end_with_2(arguments):
    with pytest.raises(SystemExit) as caught:
        play('x.mp4', *arguments)
    assert caught.value.code == 2
