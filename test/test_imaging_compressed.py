# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG are decoded at the size of their header, or end as BAD_IMAGE, never otherwise."""
import struct
import zlib
from array import array

import cv2
import numpy as np
import pytest
from PIL import Image
from test_imaging import RGB, TEAL, alpha, refused

from nanovlm_ros import imaging
from nanovlm_ros.types import ErrorCode, NanoVlmError


def encoded(extension, picture=RGB):
    return cv2.imencode(extension, picture[..., ::-1])[1].tobytes()


def test_png_is_decoded_exactly_and_jpeg_closely():
    smooth = np.full((40, 56, 3), TEAL, np.uint8)
    np.testing.assert_array_equal(imaging.decode_compressed(encoded('.png')), RGB)
    got = imaging.decode_compressed(encoded('.jpg', smooth))
    np.testing.assert_allclose(got.astype(int), smooth, atol=4)


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_the_size_is_read_from_the_header(extension):
    assert imaging.check_compressed(encoded(extension)) == (8, 6)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
def test_whatever_exif_says_the_pixels_are_where_the_header_says(tmp_path, orientation, name):
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:8, :16] = TEAL
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / name, exif=exif)
    data = (tmp_path / name).read_bytes()
    assert imaging.check_compressed(data) == (32, 16)
    np.testing.assert_allclose(imaging.decode_compressed(data)[2:6, 2:14].astype(int),
                               np.broadcast_to(TEAL, (4, 12, 3)), atol=6)


def saved(tmp_path, picture, name, **options):
    picture.save(tmp_path / name, **options)
    return (tmp_path / name).read_bytes()


def test_every_kind_of_jpeg_gives_rgb(tmp_path):
    whole = Image.fromarray(np.full((24, 40, 3), TEAL, np.uint8))
    gray = whole.convert('L')
    for data, want in [
            (saved(tmp_path, whole, 'a.jpg', progressive=True), TEAL),
            (saved(tmp_path, whole, 'b.jpg', optimize=True, subsampling=0), TEAL),
            (saved(tmp_path, whole, 'c.jpg', restart_marker_blocks=1), TEAL),
            (saved(tmp_path, whole, 'd.jpg', comment=b'\xff\xd9 \xff\xc0'), TEAL),
            (saved(tmp_path, gray, 'e.jpg'), gray.getpixel((0, 0))),
            (saved(tmp_path, gray, 'f.jpg', progressive=True), gray.getpixel((0, 0)))]:
        assert imaging.check_compressed(data) == (40, 24)
        np.testing.assert_allclose(imaging.decode_compressed(data).astype(int),
                                   np.broadcast_to(want, (24, 40, 3)), atol=4)


def test_every_kind_of_png_gives_rgb(tmp_path):
    whole = Image.fromarray(RGB)
    gray = RGB[..., :1].repeat(3, axis=2)
    deep = np.ascontiguousarray(RGB[..., ::-1].astype(np.uint16) * 257)
    palette = whole.quantize(4)
    for data, want in [
            (saved(tmp_path, Image.fromarray(alpha(RGB)), 'a.png'), RGB),
            (saved(tmp_path, whole.getchannel(0), 'b.png'), gray),
            (saved(tmp_path, palette, 'c.png'), np.asarray(palette.convert('RGB'))),
            (cv2.imencode('.png', deep)[1].tobytes(), RGB)]:
        np.testing.assert_array_equal(imaging.decode_compressed(data), want)


@pytest.mark.parametrize('wrap', [bytes, bytearray, memoryview, lambda data: array('B', data),
                                  lambda data: np.frombuffer(data, np.uint8)])
def test_any_buffer_will_do(wrap):
    np.testing.assert_array_equal(imaging.decode_compressed(wrap(encoded('.png'))), RGB)
    np.testing.assert_array_equal(
        imaging.decode_raw(wrap(RGB.tobytes()), 6, 8, 24, 'rgb8'), RGB)


@pytest.mark.parametrize('data', [b'', b'GIF89a' + bytes(60), b'RIFF....WEBPVP8 ', b'<svg/>'])
def test_only_jpeg_and_png_are_taken(data):
    assert 'neither JPEG nor PNG' in refused(imaging.check_compressed, data)


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
@pytest.mark.parametrize('part', [0.05, 0.5, 0.9])
def test_an_image_cut_short_is_refused_not_filled_up(extension, part):
    picture = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    whole = encoded(extension, picture)
    refused(imaging.decode_compressed, whole[:int(len(whole) * part)])


def test_a_bomb_is_refused_by_its_header_before_it_is_decoded():
    header = b'\x89PNG\r\n\x1a\n' + b'\0\0\0\rIHDR' + struct.pack('>IIBBBBB', 1 << 20, 1 << 20,
                                                                 8, 2, 0, 0, 0)
    bomb = header + struct.pack('>I', zlib.crc32(header[12:]))
    assert 'max_image_pixels' in refused(imaging.check_compressed, bomb)


@pytest.mark.parametrize('marker', [0x00, 0x01, *range(0xD0, 0xDA)])
def test_no_jpeg_shows_the_check_another_size_than_the_decoder(marker):
    # A decoder passes over such a marker; who takes what follows for its length lands on
    # the second, harmless image.
    harmless = encoded('.jpg')
    frame = harmless.index(b'\xff\xc0')
    large = bytearray(harmless)
    large[frame + 5:frame + 9] = struct.pack('>HH', 3000, 4000)
    second = 4 + int.from_bytes(large[2:4], 'big')
    data = (b'\xff\xd8\xff' + bytes([marker]) + large[2:])[:second].ljust(second, b'\0')
    assert 'JPEG' in refused(imaging.check_compressed, data + harmless[2:])


def test_a_jpeg_without_a_height_is_refused():
    data = bytearray(encoded('.jpg'))
    frame = data.index(b'\xff\xc0')
    data[frame + 5:frame + 7] = b'\0\0'
    assert '8 x 0' in refused(imaging.check_compressed, data)


def test_random_bytes_end_as_bad_image_and_nothing_else():
    random = np.random.default_rng(3)
    starts = [b'', b'\xff\xd8', b'\x89PNG\r\n\x1a\n', encoded('.png')[:40], encoded('.jpg')[:200]]
    for turn in range(3000):
        data = starts[turn % len(starts)] + random.bytes(random.integers(0, 300))
        try:
            imaging.decode_compressed(data)
        except NanoVlmError as error:
            assert error.code == ErrorCode.BAD_IMAGE


def test_damaged_files_end_as_an_image_of_their_size_or_as_bad_image():
    random = np.random.default_rng(4)
    for turn in range(300):
        data = bytearray(encoded(('.png', '.jpg')[turn % 2]))
        for _ in range(random.integers(1, 6)):
            data[random.integers(len(data))] = random.integers(256)
        try:
            width, height = imaging.check_compressed(data, 1 << 20)
            assert imaging.decode_compressed(data, 1 << 20).shape == (height, width, 3)
        except NanoVlmError as error:
            assert error.code == ErrorCode.BAD_IMAGE
