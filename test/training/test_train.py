# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training runs from drawing to checkpoint, and goes on from there."""

import json

import numpy as np
import torch

from training import feed, train
from training.export import load_checkpoint
from training.model import Shape
from training.optimizer import Optimizer, orthogonalise

TINY = {'vision_layers': 1, 'layers': 1, 'vision_inter': 64, 'inter': 64}


def test_a_short_run_writes_a_checkpoint_that_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(train, 'Shape', lambda: Shape(**TINY))
    monkeypatch.setattr(feed, 'SINGLE', 2)
    monkeypatch.setattr(feed, 'PICTURES', 24)
    common = ['--seconds', '100', '--steps', '2', '--workers', '1', '--singles', '1', '--several',
              '1', '--test-chunks', '1', '--test-chunk', '2', '--reserve', '1']
    first = train.run(train.parse(['--out', str(tmp_path / 'a'), *common]))
    assert set(first) == {'float', 'q4'} and first['float']['asked']['all'] > 20
    again = ['--out', str(tmp_path / 'b'), '--resume', str(tmp_path / 'a'), *common]
    train.run(train.parse(again))
    a, b = (load_checkpoint(tmp_path / n).state_dict() for n in 'ab')
    assert any(not torch.equal(a[k], b[k]) for k in a)
    assert all(torch.isfinite(v).all() for v in b.values())
    events = [json.loads(x).get('event') for x in (tmp_path / 'b/log.jsonl').read_text().split('\n')
              if x]
    assert events[-1] == 'end' and (tmp_path / 'b/llm/tokenizer.json').exists()


def test_the_clock_sets_the_learning_rate(tmp_path):
    args = train.parse(['--out', str(tmp_path), '--rate', '1', '--end-rate', '.1', '--warmup', '.1',
                        '--hold', '.5'])
    rate = train.Trainer.rate
    holder = type('T', (), {'args': args})()
    assert [round(rate(holder, p), 3) for p in (0, .05, .1, .5, 1)] == [0, .5, 1, 1, .1]


def test_orthogonalised_updates_have_singular_values_near_one():
    g = torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(orthogonalise(g))
    assert .5 < s.min() and s.max() < 1.4


def test_the_optimiser_skips_a_step_without_finite_gradients():
    model = torch.nn.Linear(8, 8)
    before = model.weight.clone()
    model(torch.full((1, 8), float('nan'))).sum().backward()
    Optimizer(model).step(.1)
    assert torch.equal(model.weight, before) and model.weight.grad is None


def test_a_chunk_of_several_frames_holds_as_many_pictures_as_it_says(demo_model):
    arrays, placed = train.test_chunk((1, 3, 2, str(demo_model / 'llm/tokenizer.json')))
    assert arrays['pixels'].shape == (6, 256, 256, 3) and arrays['pixels'].std() > 5
    assert len(placed) == 2 and all(len(p) > 5 for p in placed)
    assert np.unique(arrays['raw']).tolist() == [0]
