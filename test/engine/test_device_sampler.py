# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tokens that are drawn where the logits are equal those that the CPU draws."""
import numpy as np
import pytest
import torch

from nanovlm_ros.engine import device_sampler, sampler
from nanovlm_ros.engine.sampler import NO_TOKEN, Sampler
from nanovlm_ros.types import GenerationConfig

VOCAB = 60
CONFIGS = [{}, {'repetition_penalty': 1.3}, {'temperature': 0.7, 'top_p': 0.9},
           {'temperature': 2.0}, {'temperature': 1.0, 'top_p': 1e-9},
           {'temperature': 1.5, 'top_p': 0.6, 'repetition_penalty': 0.7}]


class Batch:
    """Requests of many kinds, twice: their samplers and what they may say."""

    def __init__(self, configs, masked=lambda row: row % 2):
        self.samplers = [Sampler(GenerationConfig(seed=seed, **config), np.array([1, 5, 99]), VOCAB)
                         for seed, config in enumerate(configs)]
        self._masked = masked

    def masks(self, step):
        random = np.random.default_rng(step)
        return [random.random(VOCAB) < 0.3 if self._masked(row) else None
                for row in range(len(self.samplers))]


def logits_of(step, rows):
    """Of a batch; some tokens are alike."""
    random = np.random.default_rng(step)
    return (random.integers(-40, 40, (rows, VOCAB)) / 8).astype(np.float32)


@pytest.mark.parametrize('configs', [CONFIGS * 2, [{}] * 3, [{}], CONFIGS[2:3]])
@pytest.mark.parametrize('masked', [lambda row: row % 2, lambda row: False])
def test_a_batch_gets_the_tokens_that_the_cpu_draws(configs, masked):
    ours, theirs = Batch(configs, masked), Batch(configs, masked)
    for step in range(150):
        logits = logits_of(step, len(configs))
        want = sampler.sample_rows(logits, theirs.samplers, theirs.masks(step))
        got = device_sampler.sample_rows(torch.from_numpy(logits), ours.samplers,
                                         ours.masks(step))
        assert got == want and NO_TOKEN not in got
        for batch in (ours, theirs):
            for one, token in zip(batch.samplers, got):
                one.accept(token)


@pytest.mark.parametrize('configs', [[{}] * 4, CONFIGS[:1] + CONFIGS[2:5]])
@pytest.mark.parametrize('poison', [np.nan, np.inf, -np.inf])
def test_a_row_that_allows_none_leaves_the_others_as_they_are(configs, poison):
    logits = logits_of(1, 4)
    sound = device_sampler.sample_rows(
        torch.from_numpy(logits.copy()), Batch(configs).samplers, [None] * 4)
    logits[2, :] = poison
    logits[2, 7:] = poison if poison == -np.inf else 0
    got = device_sampler.sample_rows(
        torch.from_numpy(logits), Batch(configs).samplers, [None] * 4)
    assert got == [*sound[:2], NO_TOKEN, sound[3]]


@pytest.mark.parametrize('config', CONFIGS)
def test_a_mask_that_allows_nothing_gives_no_token(config):
    masks = [np.zeros(VOCAB, bool), None]
    got = device_sampler.sample_rows(
        torch.from_numpy(logits_of(1, 2)), Batch([config] * 2).samplers, masks)
    assert got[0] == NO_TOKEN != got[1]


def test_the_logits_stay_as_they_were():
    logits = torch.from_numpy(logits_of(3, len(CONFIGS)))
    before = logits.clone()
    batch = Batch(CONFIGS)
    device_sampler.sample_rows(logits, batch.samplers, batch.masks(0))
    assert torch.equal(logits, before)


def test_logits_as_large_as_floats_can_be_are_no_problem():
    logits = torch.tensor([[3e38, -3e38, 0, 3e38]])
    one = Sampler(GenerationConfig(temperature=1e-3), np.empty(0, np.int64), 4)
    drawn = {device_sampler.sample_rows(logits, [one], [None])[0] for _ in range(100)}
    assert drawn == {0, 3}
