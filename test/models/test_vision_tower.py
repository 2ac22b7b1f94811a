# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Our towers against transformers' own."""
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from nanovlm_ros.models.vision_tower import VisionShape, VisionTower
from nanovlm_ros.types import NanoVlmError

SIZES = dict(image_size=42, patch_size=14, hidden_size=48, intermediate_size=80,
             num_hidden_layers=3, num_attention_heads=4)
PIXELS = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(0))


def make(kind):
    torch.manual_seed(1)
    if kind == 'clip':
        return CLIPVisionModel(CLIPVisionConfig(**SIZES)).eval()
    return SiglipVisionModel(SiglipVisionConfig(**SIZES, vision_use_head=False)).eval()


@pytest.mark.parametrize('kind', ['clip', 'siglip'])
@pytest.mark.parametrize('select_layer', [-1, -2, 0])
def test_features_equal_those_of_transformers(kind, select_layer):
    reference = make(kind)
    tower = VisionTower(VisionShape.from_config(reference.config.to_dict()), select_layer, True)
    tower.load(reference.state_dict())
    with torch.no_grad():
        hidden = reference(PIXELS, output_hidden_states=True).hidden_states[select_layer]
        torch.testing.assert_close(tower(PIXELS), hidden, atol=1e-5, rtol=1e-5)
    assert tower.tokens == hidden.shape[1]


def test_the_class_token_is_left_out_unless_asked_for():
    reference = make('clip')
    shape = VisionShape.from_config(reference.config.to_dict())
    state = reference.state_dict()
    with torch.no_grad():
        whole = VisionTower(shape, -2, True).load(state)(PIXELS)
        patches = VisionTower(shape, -2, False).load(state)(PIXELS)
    torch.testing.assert_close(patches, whole[:, 1:])


def test_layers_after_the_selected_one_are_not_built():
    shape = VisionShape.from_config(make('siglip').config.to_dict())
    assert len(VisionTower(shape, -2, True).layers) == 2


def test_an_unknown_tower_is_refused_by_name():
    with pytest.raises(NanoVlmError, match="'convnext'"):
        VisionShape.from_config({'model_type': 'convnext', **SIZES})
