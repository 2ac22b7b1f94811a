# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole path, from pixels to the logits of 32 decode steps, against transformers.

The reference shares no code with the engine but `round_trip`, which says what
the stored weights stand for: PIL, SiglipVisionModel, a projector written here,
LlamaForCausalLM without a cache. `pytest -s` prints what was measured.
"""
import json

import numpy as np
import pytest
import torch
from activations import round_activations
from driver import decode, prefill
from PIL import Image
from safetensors.torch import load_file
from transformers import LlamaForCausalLM, SiglipVisionModel

from nanovlm_ros.engine.loader import demo_model, load
from nanovlm_ros.mlc.packing import QUANTIZATIONS, round_trip
from nanovlm_ros.mlc.shape import FLOAT32, INT8
from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.types import Frame

FOLDER = demo_model()
TOLERANCE = {('q0f32', FLOAT32): 1e-3, ('q4f32_1', FLOAT32): 2e-3, ('q4f16_1', FLOAT32): 2e-3,
             # A number that the last bit rounds to the next of 127 steps moves all that follow.
             ('q4f16_1', INT8): 0.3}
SAME = {FLOAT32: 1e-3, INT8: 0.3}  # by another way through the engine
STEPS = 32


def picture(seed, height=96, width=128):
    """Blocks, lines and noise: something to see, of a size that must be resized."""
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(6):
        top, left = random.integers(0, height - 8), random.integers(0, width - 8)
        image[top:top + random.integers(4, 40), left:left + random.integers(4, 50)] = (
            random.integers(0, 256, 3))
    noise = random.integers(-12, 13, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


class Reference:
    """What the model should say, by other people's code."""

    def __init__(self, quantization, activations):
        config = json.loads((FOLDER / 'config.json').read_text())
        self.layer = config['mm_vision_select_layer']
        self.tower = SiglipVisionModel.from_pretrained(
            FOLDER / 'vision_tower', dtype=torch.float32).eval()
        self.projector = {name: tensor.float() for name, tensor in
                          load_file(FOLDER / 'mm_projector' / 'model.safetensors').items()}
        self.llm = LlamaForCausalLM.from_pretrained(
            FOLDER / 'llm', dtype=torch.float32, attn_implementation='eager').eval()
        for tensor in self.llm.state_dict().values():
            if tensor.ndim == 2:
                tensor.copy_(torch.from_numpy(round_trip(tensor.numpy(), quantization)))
        if activations == INT8:
            round_activations(self.llm)

    def image_rows(self, rgb):
        size = self.tower.config.image_size
        resized = Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC)
        pixels = (np.asarray(resized, np.float32) / 255 - 0.5) / 0.5
        hidden = self.tower(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()),
                            output_hidden_states=True).hidden_states[self.layer][0]
        side = int(len(hidden) ** 0.5)
        assert side * side == len(hidden) and side % 2 == 0
        grid = hidden.reshape(side, side, -1)
        # Down the columns; of each 2x2 block: top left, top right, bottom left, bottom right.
        merged = torch.stack([
            torch.cat([grid[y, x], grid[y, x + 1], grid[y + 1, x], grid[y + 1, x + 1]])
            for x in range(0, side, 2) for y in range(0, side, 2)])
        w = self.projector
        mean = merged.mean(1, keepdim=True)
        spread = ((merged - mean) ** 2).mean(1, keepdim=True)
        normed = (merged - mean) / torch.sqrt(spread + 1e-5)
        x = normed * w['layers.1.weight'] + w['layers.1.bias']
        x = x @ w['layers.2.weight'].T + w['layers.2.bias']
        x = 0.5 * x * (1 + torch.erf(x / 2 ** 0.5))
        return x @ w['layers.4.weight'].T + w['layers.4.bias']

    @torch.no_grad()
    def logits(self, segments, tokens):
        """Return the logits after the prompt and after each of `tokens`, without a cache."""
        def embed(ids):
            return self.llm.model.embed_tokens(torch.tensor(list(ids)))

        rows = [self.image_rows(s.rgb) if isinstance(s, Frame) else embed(s) for s in segments]
        everything = torch.cat([*rows, embed(tokens)])[None]
        logits = self.llm(inputs_embeds=everything, use_cache=False).logits[0]
        return logits[len(logits) - len(tokens) - 1:].numpy()


@pytest.fixture(scope='module', params=TOLERANCE, ids='-'.join)
def pair(request):
    """Return ((quantization, activations), engine, reference)."""
    quantization, activations = request.param
    model = load(quantization=quantization, activations=activations, max_sequences=1,
                 vision_weights='float')
    yield request.param, model, Reference(QUANTIZATIONS[quantization], activations)
    model.close()


def generate(model, prompt):
    """Decode greedily with the cache; return (tokens, logits before each and after the last)."""
    sequence, _, logits = prefill(model, prompt)
    seen, tokens = [logits.copy()], []
    for _ in range(STEPS):
        tokens.append(int(seen[-1].argmax()))
        seen.append(decode(model, [sequence], tokens[-1:])[0].copy())
    model.release(sequence, keep=False)
    return tokens, np.stack(seen)


@pytest.mark.parametrize('images', [0, 1, 3])
def test_the_whole_path_equals_the_reference(pair, images):
    name, model, reference = pair
    frames = tuple(Frame.from_rgb(picture(seed)) for seed in range(images))
    prompt = model.tokenize([Turn('Describe the scene.', frames)])
    tokens, ours = generate(model, prompt)
    theirs = reference.logits(prompt.segments, tokens)[:, :model.vocab_size]
    assert ours.shape == theirs.shape == (STEPS + 1, model.vocab_size)
    difference = np.abs(ours - theirs).max(axis=1)
    print(f'\n{name}, {images} images: max |d logits| prefill {difference[0]:.2e}, '
          f'decode {difference[1:].max():.2e}; logits from {theirs.min():.1f} '
          f'to {theirs.max():.1f}')
    assert difference.max() <= TOLERANCE[name]
    assert theirs.std() > 1, 'the comparison means something'


def test_the_cached_path_equals_the_uncached_one(pair):
    name, model, _ = pair
    prompt = model.tokenize([Turn('How many boxes are there?', (Frame.from_rgb(picture(9)),))])
    tokens, cached = generate(model, prompt)
    worst = 0.0
    for count in (1, 7, STEPS):
        model.reset()
        longer = Prompt([*prompt.segments, tokens[:count]], prompt.image_rows)
        sequence, shared, uncached = prefill(model, longer)
        assert shared == 0
        model.release(sequence, keep=False)
        worst = max(worst, float(np.abs(cached[count] - uncached).max()))
    print(f'\n{name}: cached against uncached max |d logits| {worst:.2e}')
    assert worst <= SAME[name[1]]


def test_a_prefix_from_the_cache_changes_no_logits(pair):
    name, model, _ = pair
    frame = Frame.from_rgb(picture(10))
    questions = ['Is there a person?', 'What colour is the door?']
    model.reset()
    fresh = []
    for question in questions:
        tokens, logits = generate(model, model.tokenize([Turn(question, (frame,))]))
        fresh.append(logits)
        model.reset()
    for question, expected in zip(questions, fresh):
        prompt = model.tokenize([Turn(question, (frame,))])
        sequence, shared, logits = prefill(model, prompt)
        assert (shared > 0) == (question != questions[0])
        np.testing.assert_allclose(logits, expected[0], atol=SAME[name[1]])
        model.release(sequence, keep=True)
    model.reset()


def test_the_default_is_near_the_reference():
    """4-bit weights, with int8 in the language model and in vision."""
    model, reference = load(max_sequences=1), Reference(QUANTIZATIONS['q4f16_1'], INT8)
    frames = tuple(Frame.from_rgb(picture(seed)) for seed in range(2))
    prompt = model.tokenize([Turn('Describe the scene.', frames)])
    tokens, ours = generate(model, prompt)
    theirs = reference.logits(prompt.segments, tokens)[:, :model.vocab_size]
    assert tokens == theirs[:-1].argmax(1).tolist()
    difference = np.abs(ours - theirs)
    print(f'\ndefault: |d logits| max {difference.max():.2f}, mean {difference.mean():.3f}')
    assert difference.max() < 1 and difference.mean() < 0.1
    model.close()
