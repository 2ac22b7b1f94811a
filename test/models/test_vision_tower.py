# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Our towers against transformers' own."""
import pytest
import torch
from transformers import CLIPVisionConfig, SiglipVisionConfig
from vision_parts import clip, siglip, stored

from nanovlm_ros.models.vision_tower import VisionShape, VisionTower, build_tower
from nanovlm_ros.types import ErrorCode, NanoVlmError

MAKERS = {'clip': clip, 'siglip': siglip}


def pixels(size):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def refused(call, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


# 70 / 14 and 63 / 14: an odd number of patches, and pixels that belong to none.
@pytest.mark.parametrize('size', [56, 63, 70])
@pytest.mark.parametrize('kind', MAKERS)
@pytest.mark.parametrize('select_layer', [-1, -2, 0, 2])
def test_features_equal_those_of_transformers(tmp_path, kind, select_layer, size):
    reference = MAKERS[kind](size)
    tower = build_tower(reference.config.to_dict(), select_layer, True,
                        stored(tmp_path, reference.state_dict()))
    with torch.no_grad():
        hidden = reference(pixels(size), output_hidden_states=True).hidden_states[select_layer]
        assert hidden.std() > 0.5, 'the comparison means something'
        torch.testing.assert_close(tower(pixels(size)), hidden, atol=1e-4, rtol=1e-5)
    assert tower.tokens == hidden.shape[1]


@pytest.mark.parametrize('kind', MAKERS)
def test_any_activation_of_these_families_is_that_of_transformers(tmp_path, kind):
    for activation in ('gelu', 'quick_gelu', 'gelu_pytorch_tanh'):
        reference = MAKERS[kind](hidden_act=activation)
        tower = build_tower(reference.config.to_dict(), -2, True,
                            stored(tmp_path, reference.state_dict()))
        with torch.no_grad():
            hidden = reference(pixels(56), output_hidden_states=True).hidden_states[-2]
            torch.testing.assert_close(tower(pixels(56)), hidden, atol=1e-4, rtol=1e-5)


def test_the_class_token_is_left_out_unless_asked_for(tmp_path):
    reference = clip()
    config, weights = reference.config.to_dict(), stored(tmp_path, reference.state_dict())
    with torch.no_grad():
        whole = build_tower(config, -2, True, weights)(pixels(56))
        patches = build_tower(config, -2, False, weights)(pixels(56))
    torch.testing.assert_close(patches, whole[:, 1:])


@pytest.mark.parametrize('kind', MAKERS)
def test_tensors_are_found_with_and_without_the_prefix_of_older_files(tmp_path, kind):
    reference = MAKERS[kind]()
    bare = {name.removeprefix('vision_model.'): tensor
            for name, tensor in reference.state_dict().items()}
    prefixed = {f'vision_model.{name}': tensor for name, tensor in bare.items()}
    config = reference.config.to_dict()
    with torch.no_grad():
        one, other = (build_tower(config, -2, True, stored(tmp_path / name, state))(pixels(56))
                      for name, state in (('bare', bare), ('prefixed', prefixed)))
    torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_layers_after_the_selected_one_are_neither_built_nor_needed(tmp_path):
    reference = siglip()
    state = {name: tensor for name, tensor in reference.state_dict().items()
             if 'layers.2.' not in name and 'post_layernorm' not in name}
    tower = build_tower(reference.config.to_dict(), -2, True, stored(tmp_path, state))
    assert len(tower.layers) == 2


@pytest.mark.parametrize('config', [CLIPVisionConfig(), SiglipVisionConfig()])
def test_what_a_configuration_leaves_out_is_what_transformers_takes(config):
    shape = VisionShape.from_config({'vision_config': {'model_type': config.model_type}})
    assert shape == VisionShape.from_config(config.to_dict())
    assert shape.activation == config.hidden_act and shape.norm_eps == config.layer_norm_eps
    assert shape.clip == isinstance(config, CLIPVisionConfig)


@pytest.mark.parametrize('name', [
    'embeddings.patch_embedding.weight', 'encoder.layers.1.self_attn.k_proj.bias',
    'pre_layrnorm.bias'])
def test_a_missing_tensor_is_named_with_its_file(tmp_path, name):
    reference = clip()
    state = {key: tensor for key, tensor in reference.state_dict().items()
             if not key.endswith(name)}
    assert len(state) == len(reference.state_dict()) - 1
    message = refused(build_tower, reference.config.to_dict(), -2, False,
                      stored(tmp_path, state))
    assert name in message and 'model.safetensors' in message


@pytest.mark.parametrize('name, shape, wanted', [
    ('embeddings.position_embedding.weight', (10, 32), (17, 32)),
    ('encoder.layers.0.self_attn.q_proj.weight', (32, 31), (32, 32)),
    ('encoder.layers.1.mlp.fc1.weight', (63, 32), (64, 32))])
def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(tmp_path, name, shape, wanted):
    reference = clip()
    state = dict(reference.state_dict())
    key = next(key for key in state if key.endswith(name))
    state[key] = torch.zeros(shape)
    message = refused(build_tower, reference.config.to_dict(), -2, False,
                      stored(tmp_path, state))
    for part in (name, str(shape), str(wanted), str(tmp_path / 'model.safetensors')):
        assert part in message


@pytest.mark.parametrize('changes, part', [
    ({'model_type': 'convnext'}, "'convnext'"), ({'hidden_act': 'relu'}, "'relu'"),
    ({'hidden_size': 50}, '50'), ({'patch_size': 0}, 'patch_size 0'),
    ({'image_size': '336'}, "image_size '336'")])
def test_a_tower_beyond_us_is_refused_by_what_it_asks_for(changes, part):
    assert part in refused(VisionShape.from_config, {**clip().config.to_dict(), **changes})


@pytest.mark.parametrize('layer', [4, -5])
def test_a_layer_that_the_tower_lacks_is_refused(layer):
    shape = VisionShape.from_config(clip().config.to_dict())
    assert str(layer) in refused(VisionTower, shape, layer, False)
