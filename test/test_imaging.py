# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Images are decoded as their encoding says, and bad ones end as BAD_IMAGE, never otherwise."""
import numpy as np
import pytest
from PIL import Image

from nanovlm_ros import imaging
from nanovlm_ros.types import ErrorCode, NanoVlmError

RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
RED, TEAL = (200, 30, 60), (20, 160, 140)


def decode(samples, encoding, padding=0, height=None, **options):
    """Decode rows of samples, with `padding` bytes after each row."""
    samples = np.ascontiguousarray(samples)
    rows = samples.reshape(samples.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    width = options.pop('width', samples.shape[1])
    return imaging.decode_raw(padded.tobytes(), height or samples.shape[0], width,
                              padded.shape[1], encoding, **options)


def refused(function, *arguments, **options):
    """Return the sentence of the BAD_IMAGE that a call must end with."""
    with pytest.raises(NanoVlmError) as caught:
        function(*arguments, **options)
    assert caught.value.code == ErrorCode.BAD_IMAGE
    return caught.value.message


def alpha(rgb):
    return np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 77, np.uint8)], axis=2)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding, samples', [
    ('rgb8', RGB), ('bgr8', RGB[..., ::-1]), ('8UC3', RGB[..., ::-1]), ('rgba8', alpha(RGB)),
    ('bgra8', alpha(RGB)[..., [2, 1, 0, 3]])])
def test_colour_encodings_give_rgb_whatever_the_row_padding(encoding, samples, padding):
    np.testing.assert_array_equal(decode(samples, encoding, padding), RGB)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_gray_is_gray_in_all_channels(encoding):
    gray = RGB[..., 0]
    np.testing.assert_array_equal(decode(gray, encoding, 3), np.stack([gray] * 3, axis=2))


@pytest.mark.parametrize('big', [False, True])
def test_16_bit_gray_keeps_the_high_byte_in_either_byte_order(big):
    values = np.array([[0x1234, 0xFF00], [0x00FF, 0x8001]], '>u2' if big else '<u2')
    got = decode(values, 'mono16', 2, is_bigendian=big)
    np.testing.assert_array_equal(got[..., 0], [[0x12, 0xFF], [0x00, 0x80]])


@pytest.mark.parametrize('encoding, dtype', [('16UC1', 'u2'), ('32FC1', 'f4')])
@pytest.mark.parametrize('big', [False, True])
def test_depth_is_spread_over_the_range_that_is_valid(encoding, dtype, big):
    order = '>' if big else '<'
    depth = np.array([[1000, 2000, 3000, 0]], order + dtype)
    got = decode(depth, encoding, is_bigendian=big)
    np.testing.assert_array_equal(got[0, :, 0], [0, 127, 255, 0])


def test_depth_without_a_valid_pixel_is_black():
    depth = np.array([[np.nan, np.inf], [-np.inf, -1]], np.float32)
    assert not decode(depth, '32FC1').any()


def test_depth_as_far_apart_as_floats_can_be_is_no_problem():
    depth = np.array([[1e-30, 3e38, np.nan]], np.float32)
    np.testing.assert_array_equal(decode(depth, '32FC1')[0, :, 0], [0, 255, 0])


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_mosaic_of_one_colour_is_that_colour(pattern):
    mosaic = np.empty((8, 10), np.uint8)
    for place, letter in enumerate(pattern):
        mosaic[place // 2::2, place % 2::2] = RED['rgb'.index(letter)]
    got = decode(mosaic, f'bayer_{pattern}8', 3)
    np.testing.assert_array_equal(got[2:-2, 2:-2], np.broadcast_to(RED, (4, 6, 3)))


def yuv(colour):
    """BT.601 in video range, by its definition."""
    r, g, b = (value / 255 for value in colour)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return (round(16 + 219 * luma), round(128 + 112 * (b - luma) / 0.886),
            round(128 + 112 * (r - luma) / 0.701))


@pytest.mark.parametrize('encoding', ['uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2', 'nv12', 'nv21'])
def test_yuv_of_two_colours_side_by_side_is_those_colours(encoding):
    left, right = yuv(RED), yuv(TEAL)
    if encoding.startswith('nv'):
        order = (1, 2) if encoding == 'nv12' else (2, 1)
        luma = np.repeat([[left[0], right[0]]], 4, axis=0).repeat(4, axis=1)
        chroma = np.array([[c[i] for c in (left, left, right, right) for i in order]] * 2)
        got = decode(np.concatenate([luma, chroma]).astype(np.uint8), encoding, 6, height=4)
    else:
        def pair(y, u, v):
            return (u, y, v, y) if encoding in ('uyvy', 'yuv422') else (y, u, y, v)
        row = [value for c in (left, left, right, right) for value in pair(*c)]
        got = decode(np.array([row] * 4, np.uint8), encoding, 6, width=8)
    assert got.shape == (4, 8, 3)
    np.testing.assert_allclose(got[:, :4], np.broadcast_to(RED, (4, 4, 3)), atol=4)
    np.testing.assert_allclose(got[:, 4:], np.broadcast_to(TEAL, (4, 4, 3)), atol=4)


def test_a_last_row_without_its_padding_is_whole():
    data = np.pad(RGB.reshape(6, -1), ((0, 0), (0, 8))).tobytes()[:-8]
    np.testing.assert_array_equal(imaging.decode_raw(data, 6, 8, 32, 'rgb8'), RGB)


def test_an_unknown_encoding_is_refused_with_the_known_ones():
    message = refused(imaging.check_raw, 6, 8, 24, 'rgb9', 144)
    assert "'rgb9'" in message and 'bayer_rggb8' in message


@pytest.mark.parametrize('fields, said', [
    (dict(step=23), 'step is 23'), (dict(step=0), 'step is 0'),
    (dict(size=143), '143 bytes'), (dict(size=0), '0 bytes'),
    (dict(width=0), '0 x 6'), (dict(height=0), '8 x 0'),
    (dict(width=2**31, height=2**31, step=2**33), 'max_image_pixels'),
    (dict(encoding='nv12', width=7), 'even'), (dict(encoding='uyvy', width=7), 'even')])
def test_headers_that_cannot_be_are_refused_with_what_was_got(fields, said):
    good = dict(height=6, width=8, step=24, encoding='rgb8', size=144)
    imaging.check_raw(**good)
    assert said in refused(imaging.check_raw, **{**good, **fields})


def test_a_larger_limit_lets_a_larger_image_through():
    assert 'max_image_pixels' in refused(imaging.check_raw, 6, 8, 24, 'rgb8', 144, 47)
    imaging.check_raw(6, 8, 24, 'rgb8', 144, 48)


def test_what_is_decoded_stays_when_the_message_goes():
    data = bytearray(RGB.tobytes())
    for encoding in ('rgb8', 'bgr8', 'mono8'):
        width = 24 if encoding == 'mono8' else 8
        got = imaging.decode_raw(data, 6, width, 24, encoding)
        before = got.copy()
        data[:] = bytes(len(data))
        np.testing.assert_array_equal(got, before)
        data[:] = RGB.tobytes()


def test_random_headers_end_as_an_image_of_their_size_or_as_bad_image():
    random = np.random.default_rng(5)
    encodings = [*imaging._ENCODINGS, 'rgb16', '']
    decoded = 0
    for _ in range(2000):
        height, width = random.integers(0, 9, 2).tolist()
        step, size = random.integers(0, 60), random.integers(0, 500)
        encoding = encodings[random.integers(len(encodings))]
        try:
            rgb = imaging.decode_raw(random.bytes(size), height, width, step, encoding,
                                     bool(random.integers(2)))
        except NanoVlmError as error:
            assert error.code == ErrorCode.BAD_IMAGE
            continue
        decoded += 1
        assert rgb.shape == (height, width, 3) and rgb.dtype == np.uint8
    assert decoded > 50  # not everything is refused


def test_resizing_is_what_pil_does():
    picture = np.random.default_rng(6).integers(0, 256, (37, 53, 3), np.uint8)
    want = np.asarray(Image.fromarray(picture).resize((24, 24), Image.BICUBIC))
    np.testing.assert_array_equal(imaging.resize_bicubic(picture, 24), want)
    assert imaging.resize_bicubic(want, 24) is want
