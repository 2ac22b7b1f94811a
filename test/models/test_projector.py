# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The projector of VILA-1.5, against loops that follow its description."""
import pytest
import torch

from nanovlm_ros.models.projector import Downsample, build_projector, tokens_per_image
from nanovlm_ros.types import NanoVlmError


@pytest.mark.parametrize('side', [4, 5, 27])
def test_downsampling_runs_down_the_columns_with_its_four_neighbours_in_order(side):
    x = torch.randn(2, side * side, 3)
    half = (side + 1) // 2
    expected = torch.zeros(2, half * half, 12)
    for column in range(half):
        for row in range(half):
            for place, (dy, dx) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                y, z = 2 * row + dy, 2 * column + dx
                if y < side and z < side:
                    expected[:, column * half + row, 3 * place:3 * place + 3] = x[:, y * side + z]
    torch.testing.assert_close(Downsample()(x), expected)


def test_an_image_of_vila_1_5_is_196_rows():
    assert tokens_per_image('mlp_downsample', 27 * 27) == 196


def test_mlp_downsample_is_norm_linear_gelu_linear():
    w = {'layers.1.weight': torch.rand(12), 'layers.1.bias': torch.rand(12),
         'layers.2.weight': torch.randn(8, 12), 'layers.2.bias': torch.randn(8),
         'layers.4.weight': torch.randn(8, 8), 'layers.4.bias': torch.randn(8)}
    x = torch.randn(1, 16, 3)
    y = torch.layer_norm(Downsample()(x), (12,), w['layers.1.weight'], w['layers.1.bias'])
    y = y @ w['layers.2.weight'].T + w['layers.2.bias']
    y = 0.5 * y * (1 + torch.erf(y / 2 ** 0.5))
    y = y @ w['layers.4.weight'].T + w['layers.4.bias']
    torch.testing.assert_close(build_projector('mlp_downsample', w)(x), y)


def test_an_unknown_projector_is_refused_by_name():
    with pytest.raises(NanoVlmError, match="'resampler'"):
        build_projector('resampler', {})
