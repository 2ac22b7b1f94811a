# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The projectors, against loops and formulas that follow their description."""
import pytest
import torch
from vision_parts import stored

from nanovlm_ros.models.projector import Downsample, build_projector, tokens_per_image
from nanovlm_ros.types import ErrorCode, NanoVlmError


def linear(inputs, outputs, name=''):
    return {f'{name}weight': torch.randn(outputs, inputs), f'{name}bias': torch.randn(outputs)}


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / 2 ** 0.5))


def refused(*arguments):
    with pytest.raises(NanoVlmError) as caught:
        build_projector(*arguments)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


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


@pytest.mark.parametrize('kind, patches, rows', [
    ('mlp_downsample', 27 * 27, 196), ('mlp2x_gelu', 576, 576), ('linear', 256, 256)])
def test_the_rows_of_an_image(kind, patches, rows):
    assert tokens_per_image(kind, patches) == rows


@pytest.mark.parametrize('prefix', ['', 'layers.'])
def test_mlp_downsample_is_norm_linear_gelu_linear(tmp_path, prefix):
    w = {'1.weight': torch.rand(12), '1.bias': torch.rand(12),
         **linear(12, 8, '2.'), **linear(8, 8, '4.')}
    weights = stored(tmp_path, {prefix + name: tensor for name, tensor in w.items()})
    x = torch.randn(1, 16, 3)
    y = torch.layer_norm(Downsample()(x), (12,), w['1.weight'], w['1.bias'])
    y = gelu(y @ w['2.weight'].T + w['2.bias']) @ w['4.weight'].T + w['4.bias']
    torch.testing.assert_close(build_projector('mlp_downsample', weights, 3, 8)(x), y)


@pytest.mark.parametrize('depth', [1, 2, 3])
def test_an_mlp_has_a_gelu_between_its_layers(tmp_path, depth):
    w = linear(5, 8, '0.')
    for i in range(1, depth):
        w |= linear(8, 8, f'{2 * i}.')
    x = torch.randn(2, 4, 5)
    y = x @ w['0.weight'].T + w['0.bias']
    for i in range(1, depth):
        y = gelu(y) @ w[f'{2 * i}.weight'].T + w[f'{2 * i}.bias']
    projector = build_projector(f'mlp{depth}x_gelu', stored(tmp_path, w), 5, 8)
    torch.testing.assert_close(projector(x), y)


@pytest.mark.parametrize('name', ['', '0.', 'layers.', 'layers.0.'])
def test_linear_is_one_layer_whether_its_file_numbers_it_or_not(tmp_path, name):
    w = linear(5, 8, name)
    x = torch.randn(2, 4, 5)
    projector = build_projector('linear', stored(tmp_path, w), 5, 8)
    torch.testing.assert_close(projector(x), x @ w[f'{name}weight'].T + w[f'{name}bias'])


def test_weights_of_half_precision_are_used_in_float32(tmp_path):
    w = {name: tensor.bfloat16() for name, tensor in linear(5, 8, '0.').items()}
    projector = build_projector('mlp1x_gelu', stored(tmp_path, w), 5, 8)
    torch.testing.assert_close(projector[0].weight, w['0.weight'].float())


@pytest.mark.parametrize('kind', ['resampler', 'mlp0x_gelu', 'mlp_downsample_3x3_fix', ''])
def test_an_unknown_projector_is_refused_by_name(tmp_path, kind):
    assert repr(kind) in refused(kind, stored(tmp_path, linear(5, 8)), 5, 8)


def test_a_missing_tensor_is_named_with_its_file(tmp_path):
    w = {**linear(5, 8, '0.'), '2.weight': torch.randn(8, 8)}
    message = refused('mlp2x_gelu', stored(tmp_path, w), 5, 8)
    assert "'2.bias'" in message and 'model.safetensors' in message


@pytest.mark.parametrize('vision_hidden, hidden, name, got, wanted', [
    (6, 8, '0.weight', '(8, 5)', '(8, 6)'), (5, 9, '0.weight', '(8, 5)', '(9, 5)')])
def test_a_projector_of_another_model_is_named_with_both_shapes(
        tmp_path, vision_hidden, hidden, name, got, wanted):
    w = {**linear(5, 8, '0.'), **linear(8, 8, '2.')}
    message = refused('mlp2x_gelu', stored(tmp_path, w), vision_hidden, hidden)
    for part in (repr(name), got, wanted, str(tmp_path / 'model.safetensors')):
        assert part in message


def test_a_projector_with_more_layers_than_its_type_is_refused(tmp_path):
    w = {**linear(5, 8, '0.'), **linear(8, 8, '2.')}
    assert "'2.bias'" in refused('linear', stored(tmp_path, w), 5, 8)
