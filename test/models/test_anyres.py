# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tiles and rows of images of any size, against LlavaNext's own functions."""
import random
from types import SimpleNamespace

import pytest
import torch
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import (
    LlavaNextModel, get_anyres_image_grid_shape, image_size_to_num_patches)
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from vision_parts import pinpoints

from nanovlm_ros.models.anyres import AnyRes
from nanovlm_ros.types import ErrorCode, NanoVlmError

LAYOUT = AnyRes.from_config(336, 24, pinpoints(336), unpad=True)
RESOLUTIONS = [(height, width) for width, height in pinpoints(336)]  # as transformers reads them
NEWLINE = torch.tensor([-1.0, -2.0])


def sizes():
    """(width, height) of cameras, of strips, of points, and 300 at random."""
    draw = random.Random(7)
    spread = [(draw.randint(1, 2000), draw.randint(1, 2000)) for _ in range(150)]
    small = [(draw.randint(1, 340), draw.randint(1, 340)) for _ in range(75)]
    thin = [(int(10 ** draw.uniform(0, 4)), int(10 ** draw.uniform(0, 4))) for _ in range(75)]
    return [*spread, *small, *thin, (640, 480), (1920, 1080), (336, 336), (672, 672), (1008, 336),
            (1, 1), (1, 9999), (9999, 1), (29, 3000), (3000, 29), (337, 336), (200, 200)]


def features(width, height):
    """Distinct values: every row of every view, numbered."""
    across, down = LAYOUT.tiles(width, height)
    n = 1 + across * down
    return torch.arange(n * 576 * 2, dtype=torch.float32).view(n, 576, 2)


def packed(views, width, height):
    """Rows of an image by LlavaNext."""
    model = SimpleNamespace(config=SimpleNamespace(
        image_grid_pinpoints=RESOLUTIONS,
        vision_config=SimpleNamespace(image_size=336, patch_size=14)))
    rows, _ = LlavaNextModel.pack_image_features(
        model, [views], [[height, width]], 'default', NEWLINE)
    return rows[0]


def counted(width, height):
    """Rows of an image by LlavaNext's processor, which reckons them without features."""
    processor = SimpleNamespace(
        image_processor=SimpleNamespace(image_grid_pinpoints=RESOLUTIONS), patch_size=14,
        num_additional_image_tokens=0,
        _get_unpadded_features=lambda *a: LlavaNextProcessor._get_unpadded_features(None, *a))
    return LlavaNextProcessor._get_number_of_features(processor, height, width, 336, 336)


def test_resolutions_and_tiles_are_those_of_transformers():
    for width, height in sizes():
        tall, wide = select_best_resolution((height, width), RESOLUTIONS)
        assert LAYOUT.resolution(width, height) == (wide, tall), (width, height)
        across, down = LAYOUT.tiles(width, height)
        assert (down, across) == get_anyres_image_grid_shape((height, width), RESOLUTIONS, 336)
        assert 1 + across * down == image_size_to_num_patches((height, width), RESOLUTIONS, 336)


def test_the_rows_of_any_size_are_as_many_as_transformers_has_and_hold_the_same():
    seen = set()
    for width, height in sizes():
        views = features(width, height)
        rows = LAYOUT.assemble(views, width, height, NEWLINE)
        assert torch.equal(rows, packed(views, width, height)), (width, height)
        assert len(rows) == LAYOUT.rows(width, height) == counted(width, height)
        seen.add(len(rows))
    assert len(seen) > 50, 'the sizes differ in their rows'


def test_the_numbers_of_views_are_told_beforehand():
    tiles = [LAYOUT.tiles(*size) for size in sizes()]
    assert LAYOUT.view_counts == {1 + across * down for across, down in tiles}


def test_of_two_resolutions_as_good_the_first_is_taken():
    assert LAYOUT.resolution(300, 200) == (336, 672)  # 672 x 336 would keep all pixels as well
    mirrored = AnyRes.from_config(336, 24, [[672, 336], [336, 672]], unpad=True)
    assert mirrored.resolution(300, 200) == (672, 336)


def test_the_order_of_the_list_decides_between_equals_only():
    draw = random.Random(8)
    for width, height in sizes():
        shuffled = draw.sample(pinpoints(336), 5)
        tall, wide = select_best_resolution((height, width), [(h, w) for w, h in shuffled])
        layout = AnyRes.from_config(336, 24, shuffled, unpad=True)
        assert layout.resolution(width, height) == (wide, tall), (width, height, shuffled)


def test_only_images_that_fit_into_a_tile_depend_on_how_a_pair_is_read():
    """Read as transformers reads them, the pairs make the same tiles of any larger image."""
    for width, height in sizes():
        tall, wide = select_best_resolution((height, width), pinpoints(336))
        same = LAYOUT.resolution(width, height) == (wide, tall)
        strip = max(width, height) > 1008 * min(width, height)  # scaled down, it is no pixel wide
        assert same == (max(width, height) > 336) or strip, (width, height)


def test_a_quotient_just_below_a_whole_number_loses_no_column():
    def cut(columns, kept):
        return (columns - kept) // 2

    def differs(width, height):
        across, down = LAYOUT.tiles(width, height)
        kept = width * (24 * down / height)
        return cut(24 * across, int(kept)) != cut(24 * across, int(round(kept, 7)))

    width, height = next((w, h) for h in range(337, 1400) for w in range(100, h) if differs(w, h))
    views = features(width, height)
    assert torch.equal(LAYOUT.assemble(views, width, height, NEWLINE),
                       packed(views, width, height))


def test_without_unpadding_every_row_of_every_view_is_kept_in_order():
    flat = AnyRes.from_config(336, 24, pinpoints(336), unpad=False)
    views = features(640, 480)
    assert torch.equal(flat.assemble(views, 640, 480, None), views.reshape(-1, 2))
    assert flat.rows(640, 480) == 5 * 576


@pytest.mark.parametrize('pairs, part', [
    ([], 'image_grid_pinpoints is empty'), ([[336, 600]], '[336, 600]'),
    ([[336, 672], [0, 336]], '[0, 336]'), ([[672]], '[672]')])
def test_resolutions_that_are_no_tiles_are_refused(pairs, part):
    with pytest.raises(NanoVlmError) as caught:
        AnyRes.from_config(336, 24, pairs, unpad=True)
    assert caught.value.code == ErrorCode.MODEL_ERROR and part in caught.value.message
