# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The training model equals transformers, and packing equals asking one by one."""

import numpy as np
import pytest
import torch

from training.export import load_checkpoint, save_checkpoint
from training.learn import attention_bias, normalise
from training.model import Shape, VisionLanguage, gather_neighbours
from training.pack import fields, pack
from training.prompt import SYSTEM, Prompter
from training.questions.asking import Turn
from training.quantize import dequantized, fake_quantize

TINY = Shape(image=64, vision_hidden=64, vision_layers=2, vision_heads=2, vision_inter=96,
             hidden=64, layers=2, heads=2, inter=96)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    torch.manual_seed(3)
    model = VisionLanguage(TINY)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=.2)
    path = tmp_path_factory.mktemp('tiny')
    save_checkpoint(model, path)
    return path


def original_order(x):
    """The view and permute sequence that VILA-1.5 was published with."""
    n, t, c = x.shape
    g = int(t ** .5)
    x = x.reshape(n, g, g, c)
    if g % 2:
        x = torch.cat([x, torch.zeros(n, 1, g, c)], 1)
        x = torch.cat([x, torch.zeros(n, g + 1, 1, c)], 2)
        g += 1
    x = x.view(n, g, g // 2, 2 * c).permute(0, 2, 1, 3).contiguous()
    return x.view(n, g // 2, g // 2, 4 * c).reshape(n, -1, 4 * c)


@pytest.mark.parametrize('grid', [4, 5, 27])
def test_neighbours_are_gathered_in_the_published_order(grid):
    x = torch.randn(2, grid * grid, 3)
    assert torch.equal(gather_neighbours(x), original_order(x))


def test_a_checkpoint_is_read_back_as_it_was_written(folder, tmp_path):
    model = load_checkpoint(folder)
    save_checkpoint(model, tmp_path)
    again = load_checkpoint(tmp_path)
    for (name, a), (_, b) in zip(model.state_dict().items(), again.state_dict().items()):
        assert torch.equal(a, b), name


def test_tower_and_decoder_equal_transformers(folder):
    from transformers import LlamaForCausalLM, SiglipVisionModel
    model = load_checkpoint(folder)
    tower = SiglipVisionModel.from_pretrained(folder / 'vision_tower', dtype=torch.float32).eval()
    llama = LlamaForCausalLM.from_pretrained(folder / 'llm', dtype=torch.float32).eval()
    pixels, ids = torch.rand(2, 3, 64, 64) * 2 - 1, torch.randint(3, 1280, (2, 20))
    mask = torch.ones(20, 20, dtype=torch.bool).tril().expand(2, 1, 20, 20)
    with torch.no_grad():
        want = tower(pixels, output_hidden_states=True).hidden_states[-1]
        feats, images = model.encode(pixels)
        hidden = model.decode(ids, images[:0].flatten(0, 1), ids < 0,
                              torch.arange(20).expand(2, 20), mask)
        logits, reference = model.lm_head(hidden), llama(ids).logits
    assert (feats - want).abs().max() <= 1e-4
    assert (logits - reference).abs().max() <= 1e-4


def test_a_packed_question_is_answered_as_if_asked_alone(folder, tokenizer):
    model, prompter = load_checkpoint(folder), Prompter(tokenizer)
    rows = {n: np.zeros(s[2:], d) for n, (s, d) in fields(1, 1, 1).items() if len(s) == 3}
    chats = [[Turn('exist', 'Is there a box?', 'Yes.')],
             [Turn('count', 'How many boxes are there?', '3'), Turn('chat', 'And balls?', '0')],
             [Turn('door', 'Is the door open?', 'No.')]]
    pack(prompter, np.random.default_rng(0), 1, chats, [], rows, SYSTEM)
    # The tiny tower makes 4 embeddings of an image, so the other 60 places repeat them.
    images = model.encode(torch.rand(1, 3, 64, 64) * 2 - 1)[1].repeat(1, 16, 1)
    batch = {k: torch.from_numpy(v[None].copy()) for k, v in rows.items()}
    tokens = batch['tokens'].long()
    with torch.no_grad():
        packed = model.decode(tokens.clamp_min(0), images.flatten(0, 1), tokens < 0,
                              batch['position'].long(), attention_bias(batch, torch.float32))[0]
        for branch in (1, 2, 3):
            own = (rows['segment'] == 0) | (rows['segment'] == branch)
            alone = tokens[:, torch.from_numpy(own)]
            n = alone.shape[1]
            hidden = model.decode(alone.clamp_min(0), images.flatten(0, 1), alone < 0,
                                  torch.arange(n)[None],
                                  torch.ones(n, n, dtype=torch.bool).tril()[None, None])[0]
            assert (packed[torch.from_numpy(own)] - hidden).abs().max() <= 1e-4


def test_four_bit_weights_have_fifteen_levels_a_group_and_stay_put():
    w = torch.randn(6, 96)
    q = dequantized(w)
    groups = q.unflatten(-1, (-1, 32))
    scale = (w.unflatten(-1, (-1, 32)).abs().amax(-1, keepdim=True) / 7).half().float()
    levels = groups / scale
    assert (levels - levels.round()).abs().max() < 1e-3 and levels.abs().max() <= 7.001
    assert (w.unflatten(-1, (-1, 32)) - groups).abs().max() <= scale.max() * .51
    assert torch.equal(dequantized(torch.zeros(1, 32)), torch.zeros(1, 32))


def test_quantised_weights_pass_their_gradient_straight_through():
    w = torch.randn(4, 32, requires_grad=True)
    fake_quantize(w).pow(2).sum().backward()
    assert torch.allclose(w.grad, 2 * dequantized(w))


def test_a_width_that_is_no_multiple_of_the_group_is_refused():
    with pytest.raises(ValueError, match='multiple of 32'):
        dequantized(torch.randn(2, 33))


def test_pictures_are_normalised_to_minus_one_to_one():
    x = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    assert normalise(x).unique().tolist() == [-1.0, 1.0]
