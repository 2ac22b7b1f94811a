# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures that people bring: of every kind, upright, and refused with a sentence."""
import io
import struct

import numpy as np
import pytest
from PIL import Image

from nanovlm_ros.pictures import as_frame, names_picture, picture, read_picture
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError


def photograph(width=24, height=16):
    """A picture of which every corner has another colour."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:height // 2, :width // 2] = 250, 0, 0
    rgb[:height // 2, width // 2:] = 0, 250, 0
    rgb[height // 2:, :width // 2] = 0, 0, 250
    rgb[height // 2:, width // 2:] = 200, 200, 200
    return rgb


def encoded(kind, rgb=None, **options):
    data = io.BytesIO()
    Image.fromarray(photograph() if rgb is None else rgb).save(data, kind, **options)
    return data.getvalue()


def large(width, height):
    """A BMP whose header tells of a size that its data has not."""
    data = encoded('BMP')
    return data[:18] + struct.pack('<ii', width, height) + data[26:]


def refused(call, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF'])
def test_every_kind_has_its_pixels(kind):
    frame = picture(encoded(kind), 'x')
    assert (frame.width, frame.height) == (24, 16)
    assert frame.rgb.shape == (16, 24, 3) and frame.rgb.dtype == np.uint8
    for y, x in ((3, 4), (3, 20), (12, 4), (12, 20)):
        np.testing.assert_allclose(frame.rgb[y, x].astype(int), photograph()[y, x], atol=12)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_photograph_is_seen_upright_as_pillow_turns_it(kind, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, exif=exif)
    frame = picture(data, 'x')
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert('RGB'))
    assert (frame.height, frame.width) == want.shape[:2] == frame.rgb.shape[:2]
    np.testing.assert_allclose(frame.rgb.astype(int), want, atol=3)


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_broken_exif_does_not_spoil_a_sound_picture():
    data = encoded('JPEG', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    assert picture(data, 'x').rgb.shape == (16, 24, 3)


def test_sixteen_bits_are_scaled_not_cut_off():
    data = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(data, 'PNG')
    assert abs(int(picture(data.getvalue(), 'x').rgb.mean()) - 128) <= 1


@pytest.mark.parametrize('data, said', [
    (b'', 'begins with nothing'), (b'<html>no</html>', 'neither JPEG nor PNG'),
    (encoded('JPEG')[:200], 'cut short'), (encoded('WEBP')[:40], 'corrupt'),
    (encoded('TIFF')[:30], 'nor a sound'), (encoded('BMP')[:20], 'corrupt'),
    (large(9000, 9000), 'more than the 50000000'), (large(65535, 65535), 'exceeds limit')])
@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_what_is_no_picture_is_a_sentence_that_names_it(data, said):
    error = refused(lambda: picture(data, 'the.file').rgb)
    assert error.code == ErrorCode.BAD_IMAGE
    assert error.message.startswith('the.file: ') and said in error.message


def test_data_that_ends_early_is_told_when_it_is_used():
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for kind in ('PNG', 'WEBP', 'TIFF'):
        data = encoded(kind, rgb)
        error = refused(lambda: picture(data[:len(data) // 2], 'the.file').rgb)
        assert error.code == ErrorCode.BAD_IMAGE and 'the.file: ' in error.message, kind


def test_a_file_that_is_not_there_is_named(tmp_path):
    error = refused(read_picture, tmp_path / 'missing.jpg')
    assert error.code == ErrorCode.INVALID_REQUEST
    assert 'missing.jpg cannot be read: No such file' in error.message
    assert 'Is a directory' in refused(read_picture, tmp_path).message


def test_what_a_program_holds_becomes_a_frame(tmp_path):
    rgb, path = photograph(), tmp_path / 'a picture.png'
    Image.fromarray(rgb).save(path)
    frame = Frame.from_rgb(rgb)
    assert as_frame(frame) is frame
    for image in (path, str(path), rgb, Image.fromarray(rgb), Image.fromarray(rgb).convert('RGBA')):
        np.testing.assert_array_equal(as_frame(image).rgb, rgb)
    kept = as_frame(rgb)
    rgb[:] = 0
    assert kept.rgb.any(), 'the next picture of a camera must not replace one that was asked about'


@pytest.mark.parametrize('image, said', [
    (np.zeros((4, 4), np.uint8), r'got uint8 (4, 4)'), (np.zeros((4, 4, 3)), 'got float64'),
    (Image.new('I;16', (4, 4)), 'I;16'), (7, 'got int'), (None, 'got NoneType'),
    ('https://host/a.jpg', 'download the picture'), ('missing.jpg', 'No such file')])
def test_what_cannot_be_one_is_a_sentence(image, said):
    assert said in refused(as_frame, image).message


@pytest.mark.parametrize('text', [
    'a.jpg', ' a.PNG ', '/data/my photos/a.jpeg', './a b.webp', '~/x y.tiff', 'https://h/a.gif'])
def test_names_of_pictures_are_known_though_nothing_is_there(text):
    assert names_picture(text)


@pytest.mark.parametrize('text', [
    'What is in a.jpg', 'What is this?', 'a.txt', 'jpg', 'Look:\na.jpg', 'x ' * 5000 + '.jpg'])
def test_questions_are_no_names_of_pictures(text):
    assert not names_picture(text)


def test_a_name_with_spaces_is_one_where_the_file_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not names_picture('my photo.jpg')
    (tmp_path / 'my photo.jpg').touch()
    assert names_picture('my photo.jpg')


@pytest.mark.parametrize('mode', ['I;16', 'F'])
def test_a_tiff_of_more_than_eight_bits_is_refused_not_clipped(mode):
    data = io.BytesIO()
    kind = np.uint16 if mode == 'I;16' else np.float32
    Image.fromarray(np.linspace(0, 60000, 64).reshape(8, 8).astype(kind)).save(data, 'TIFF')
    assert 'more than 8 bits' in refused(picture, data.getvalue(), 'depth.tif').message
