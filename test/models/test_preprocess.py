# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing against transformers' image processors, pixel for pixel, on real photographs."""
import numpy as np
import pytest
import torch
from photographs import ALPHA, FOLDER, NAMES, picture, rgb
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from vision_parts import CLIP_MEAN, CLIP_STD, HALF, checkpoint, clip, pinpoints, siglip

from nanovlm_ros import imaging
from nanovlm_ros.models.anyres import AnyRes
from nanovlm_ros.models.preprocess import crop, pad, resize, tile
from nanovlm_ros.models.vision_encoder import VisionEncoder, scale_and_shift
from nanovlm_ros.types import ErrorCode, NanoVlmError

SQUARE = {'size': {'shortest_edge': 336}, 'crop_size': {'height': 336, 'width': 336}}
RESOLUTIONS = [[height, width] for width, height in pinpoints(336)]  # as transformers reads them
CUTS = {'odd': np.s_[3:336, 5:222], 'tall': np.s_[:299, 40:57], 'wide': np.s_[9:20, :],
        'small': np.s_[50:143, 60:181], 'column': np.s_[:, 70:71], 'row': np.s_[70:71, :333],
        'point': np.s_[80:81, 80:81], 'square': np.s_[:100, :100]}
KINDS = ('resize', 'pad', 'crop', 'anyres')
LEVEL = 1e-3  # of 255: rounding; a pixel that differs is off by 1


def square(image: Image.Image) -> Image.Image:
    """The picture in the middle of its mean colour, rounded down, as LLaVA's authors pad it."""
    side = max(image.size)
    canvas = Image.new('RGB', (side, side), (122, 116, 104))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas


def reference(kind, image):
    """Views (n, 3, size, size) of a PIL image by transformers."""
    if kind == 'resize':
        processor = SiglipImageProcessorPil(size={'height': 384, 'width': 384})
    elif kind == 'pad':
        processor, image = CLIPImageProcessorPil(**SQUARE), square(image.convert('RGB'))
    elif kind == 'crop':
        processor, image = CLIPImageProcessorPil(**SQUARE), image.convert('RGB')
    else:
        processor = LlavaNextImageProcessorPil(**SQUARE, image_grid_pinpoints=RESOLUTIONS)
    views = processor(image, return_tensors='np')['pixel_values']
    return views if kind != 'anyres' else views[0]


@pytest.fixture(scope='module')
def encoders(tmp_path_factory):
    """Encoders with the sizes of the published models, and next to no layers, by kind."""
    made = {}
    for kind in KINDS:
        tower = (siglip(384, 14, num_hidden_layers=1, hidden_size=4) if kind == 'resize' else
                 clip(336, 14, num_hidden_layers=1, hidden_size=4))
        mean, std = (HALF, HALF) if kind == 'resize' else (CLIP_MEAN, CLIP_STD)
        projector = {'weight': torch.zeros(24, 4), 'bias': torch.zeros(24)}
        made[kind] = VisionEncoder(checkpoint(
            tmp_path_factory.mktemp(kind), tower, projector, projector_type='linear',
            aspect_ratio=kind, image_mean=mean, image_std=std, grid_pinpoints=pinpoints(336)))
    return made


def seen(encoders, kind, pixels):
    """What the tower gets of a picture, normalised."""
    mean_and_std = (HALF, HALF) if kind == 'resize' else (CLIP_MEAN, CLIP_STD)
    scale, shift = (x[:, None, None].numpy() for x in scale_and_shift(*mean_and_std))
    levels = encoders[kind].preprocess(pixels).transpose(0, 3, 1, 2)
    return (levels * scale - shift).astype(np.float32)


def assert_same(kind, got, image):
    want = reference(kind, image)
    std = HALF if kind == 'resize' else CLIP_STD
    assert got.shape == want.shape and got.dtype == np.float32
    levels = np.abs(got - want) * np.array(std)[:, None, None] * 255
    assert levels.max() < LEVEL


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', NAMES)
def test_a_photograph_is_seen_as_transformers_sees_it(encoders, kind, name):
    assert_same(kind, seen(encoders, kind, rgb(name)), picture(name))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('cut', CUTS)
def test_so_is_a_picture_of_any_shape(encoders, kind, cut):
    pixels = rgb('coffee.png')[CUTS[cut]]
    assert_same(kind, seen(encoders, kind, pixels), Image.fromarray(pixels))
    assert_same(kind, seen(encoders, kind, pixels.swapaxes(0, 1)),
                Image.fromarray(pixels.swapaxes(0, 1)))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', [*ALPHA, 'coins.png', 'cell.png', 'chelsea.png'])
def test_a_file_with_alpha_or_without_colour_is_seen_alike(encoders, kind, name):
    ours = imaging.decode_compressed((FOLDER / name).read_bytes())
    assert_same(kind, seen(encoders, kind, ours), picture(name))


@pytest.mark.parametrize('name', NAMES)
def test_padding_is_that_of_transformers_own_llava_processor_too(encoders, name):
    processor = LlavaImageProcessorPil(**SQUARE, do_pad=True)
    want = processor(picture(name), return_tensors='np')['pixel_values']
    np.testing.assert_allclose(seen(encoders, 'pad', rgb(name)), want, atol=1e-4)


@pytest.mark.parametrize('width, height', [(700, 1900), (1900, 700), (31, 1000), (301, 300)])
def test_padding_by_bands_makes_the_pixels_of_the_whole_square(width, height):
    image = Image.fromarray(rgb('astronaut.png')).resize((width, height))
    want = square(image).resize((336, 336), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pad(np.asarray(image), 336, CLIP_MEAN)[0], np.asarray(want))


def test_the_mean_colour_is_rounded_down():
    black = np.zeros((2, 100, 3), np.uint8)
    assert pad(black, 100, CLIP_MEAN)[0, 0, 0].tolist() == [122, 116, 104]


@pytest.mark.parametrize('shape', [(17_000, 1, 3), (1, 800_000, 3)])
def test_a_strip_whose_square_would_not_fit_in_memory_is_refused(shape):
    with pytest.raises(NanoVlmError, match=f'{shape[1]} x {shape[0]} pixels') as caught:
        pad(np.zeros(shape, np.uint8), 336, CLIP_MEAN)
    assert caught.value.code == ErrorCode.BAD_IMAGE


@pytest.mark.parametrize('shape', [(2_000_000, 1, 3), (1, 2_000_000, 3)])
def test_any_strip_can_be_tiled(shape):
    layout = AnyRes.from_config(336, 24, pinpoints(336), unpad=True)
    across, down = layout.tiles(shape[1], shape[0])
    assert tile(np.zeros(shape, np.uint8), layout).shape == (1 + across * down, 336, 336, 3)


def test_tiles_come_line_by_line_after_the_whole():
    layout = AnyRes.from_config(8, 2, [[16, 16]], unpad=True)
    quarters = np.arange(4, dtype=np.uint8).reshape(2, 2).repeat(8, 0).repeat(8, 1)
    views = tile(np.stack([quarters] * 3, 2), layout)
    np.testing.assert_array_equal(views[0], resize(np.stack([quarters] * 3, 2), 8)[0])
    assert [np.unique(view).tolist() for view in views[1:]] == [[0], [1], [2], [3]]


def test_a_strip_whose_middle_would_not_fit_in_memory_is_refused():
    with pytest.raises(NanoVlmError, match='3000000 x 1 pixels') as caught:
        crop(np.zeros((1, 3_000_000, 3), np.uint8), 336)
    assert caught.value.code == ErrorCode.BAD_IMAGE
