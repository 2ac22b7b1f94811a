# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tokens that are drawn where the logits are equal those that the CPU draws.

Without a GPU the kernel is one of numpy, which reads what is handed over as sample.cu does.
"""
import numpy as np
import pytest
import torch

from nanovlm_ros.engine import sampler
from nanovlm_ros.engine.device_sampler import DeviceSampler
from nanovlm_ros.engine.sampler import NO_TOKEN, Sampler
from nanovlm_ros.types import GenerationConfig

VOCAB = 60
CONFIGS = [{}, {'repetition_penalty': 1.3}, {'temperature': 0.7, 'top_p': 0.9},
           {'temperature': 2.0}, {'temperature': 1.0, 'top_p': 1e-9},
           {'temperature': 1.5, 'top_p': 0.6, 'repetition_penalty': 0.7}]


def bits(words, count):
    return np.array([words[i // 32] >> np.uint32(i % 32) & 1 for i in range(count)], bool)


def kernel_of_numpy(logits, settings):
    """The tokens of logits (m, columns), by settings as sample.cu has them, with sorting."""
    tokens = []
    for row, words in zip(logits.numpy().astype(np.float32), settings.numpy().view(np.uint32)):
        temperature, penalty = words[:2].view(np.float32)
        flags, count = words[2:4]
        top_p, place = words[4:8].view(np.float64)
        half = -(-int(count) // 32)
        row = row[:count].copy()
        if flags & 2:
            seen = bits(words[8 + half:], count)
            row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
        if flags & 1:
            row[~bits(words[8:], count)] = -np.inf
        if not np.isfinite(row.max()):
            tokens.append(-1)
            continue
        if not temperature:
            tokens.append(int(row.argmax()))
            continue
        with np.errstate(over='ignore'):
            mass = np.floor(np.exp((row - row.max()) / temperature) * 2.0 ** 40)
        if top_p < 1:
            order = np.lexsort((np.arange(count), -row))
            reached = np.searchsorted(np.cumsum(mass[order]), np.ceil(top_p * mass.sum()))
            mass[order[reached + 1:]] = 0
        tokens.append(int(np.searchsorted(
            np.cumsum(mass), min(np.floor(place * mass.sum()), mass.sum() - 1), 'right')))
    return torch.tensor(tokens, dtype=torch.int32)


def kernel_of_gpu():
    from nanovlm_ros.engine.build import companion_library
    from nanovlm_ros.mlc.cuda.companion import CudaCompanion
    from nanovlm_ros.mlc.target import Target

    return CudaCompanion(companion_library(lambda *_: None, Target.here('cuda'))).sample


@pytest.fixture(scope='module', params=['numpy', pytest.param('cuda', marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason='this machine has no GPU'))])
def draw(request):
    """Draw from logits of numpy."""
    drawer = DeviceSampler(kernel_of_numpy if request.param == 'numpy' else kernel_of_gpu())
    device = 'cpu' if request.param == 'numpy' else 'cuda'
    return lambda logits, *rest: drawer(torch.as_tensor(logits, device=device), *rest)


class Batch:
    """Requests of many kinds, twice: their samplers and what they may say."""

    def __init__(self, configs, masked=lambda row: row % 2, vocab=VOCAB):
        self.samplers = [Sampler(GenerationConfig(seed=seed, **config), np.array([1, 5, 99]), vocab)
                         for seed, config in enumerate(configs)]
        self._masked, self._vocab = masked, vocab

    def masks(self, step):
        random = np.random.default_rng(step)
        return [random.random(self._vocab) < 0.3 if self._masked(row) else None
                for row in range(len(self.samplers))]


def logits_of(step, rows, vocab=VOCAB):
    """Of a batch; some tokens are alike."""
    random = np.random.default_rng(step)
    return (random.integers(-40, 40, (rows, vocab)) / 8).astype(np.float32)


@pytest.mark.parametrize('configs', [CONFIGS * 2, [{}] * 3, [{}], CONFIGS[2:3]])
@pytest.mark.parametrize('masked', [lambda row: row % 2, lambda row: False])
def test_a_batch_gets_the_tokens_that_the_cpu_draws(draw, configs, masked):
    ours, theirs = Batch(configs, masked), Batch(configs, masked)
    for step in range(150):
        logits = logits_of(step, len(configs))
        want = sampler.sample_rows(logits, theirs.samplers, theirs.masks(step))
        got = draw(logits, ours.samplers, ours.masks(step))
        assert got == want and NO_TOKEN not in got
        for batch in (ours, theirs):
            for one, token in zip(batch.samplers, got):
                one.accept(token)


@pytest.mark.parametrize('vocab', [1, 31, 1024, 1025, 32000, 50277, 128256])
@pytest.mark.parametrize('spread', [0.0, 0.5, 6.0])
def test_vocabularies_of_all_sizes(draw, vocab, spread):
    """A spread of 0 makes all tokens alike, and the nucleus one of ties alone."""
    configs = [{'temperature': t, 'top_p': p} for t in (0.3, 1.0) for p in (0.01, 0.5, 0.95, 1.0)]
    ours, theirs = (Batch([{}, *configs], lambda row: False, vocab) for _ in range(2))
    for step in range(3):
        logits = np.random.default_rng(step).normal(0, spread, (len(configs) + 1, vocab)).astype(
            np.float32)
        none = [None] * len(logits)
        got = draw(logits, ours.samplers, none)
        want = sampler.sample_rows(logits, theirs.samplers, none)
        assert got[0] == want[0]
        for row, config, one, other in zip(logits[1:], configs, got[1:], want[1:]):
            # Of many tokens nearly alike it may be the next one: sums are not rounded alike.
            weights = np.exp((row.astype(np.float64) - row.max()) / config['temperature'])
            assert weights[min(one, other):max(one, other)].sum() <= 1e-4 * weights.sum()
            nucleus = np.sort(weights)[::-1].cumsum() <= config['top_p'] * weights.sum() * 1.0001
            assert weights[one] >= np.sort(weights)[::-1][min(nucleus.sum(), vocab - 1)]


@pytest.mark.parametrize('configs', [[{}] * 4, CONFIGS[:1] + CONFIGS[2:5]])
@pytest.mark.parametrize('poison', [np.nan, np.inf, -np.inf])
def test_a_row_that_allows_none_leaves_the_others_as_they_are(draw, configs, poison):
    logits = logits_of(1, 4)
    sound = draw(logits.copy(), Batch(configs).samplers, [None] * 4)
    logits[2, :] = poison
    logits[2, 7:] = poison if poison == -np.inf else 0
    got = draw(logits, Batch(configs).samplers, [None] * 4)
    assert got == [*sound[:2], NO_TOKEN, sound[3]]


@pytest.mark.parametrize('config', CONFIGS)
def test_a_mask_that_allows_nothing_gives_no_token(draw, config):
    masks = [np.zeros(VOCAB, bool), None]
    got = draw(logits_of(1, 2), Batch([config] * 2).samplers, masks)
    assert got[0] == NO_TOKEN != got[1]


def test_what_is_no_number_does_not_matter_where_it_is_masked(draw):
    logits = logits_of(1, 1)
    logits[0, 3:6] = np.nan, np.inf, 100
    allowed = np.ones(VOCAB, bool)
    allowed[3:5] = False
    assert draw(logits, Batch([{}]).samplers, [allowed]) == [5]


def test_of_columns_beyond_the_vocabulary_nothing_is_drawn(draw):
    logits = logits_of(1, 2)
    logits[:, 50:] = 1000
    samplers = [Sampler(GenerationConfig(temperature=t), np.empty(0, np.int64), 50)
                for t in (0, 1)]
    assert max(draw(logits[:, :50], samplers, [None, None])) < 50


def test_the_logits_stay_as_they_were(draw):
    logits = logits_of(3, len(CONFIGS))
    before = logits.copy()
    batch = Batch(CONFIGS)
    draw(logits, batch.samplers, batch.masks(0))
    assert np.array_equal(logits, before)


def test_logits_as_large_as_floats_can_be_are_no_problem(draw):
    logits = np.array([[3e38, -3e38, 0, 3e38]], np.float32)
    one = Sampler(GenerationConfig(temperature=1e-3), np.empty(0, np.int64), 4)
    drawn = {draw(logits, [one], [None])[0] for _ in range(100)}
    assert drawn == {0, 3}
