# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tokens are drawn as the configuration says, and a seed repeats them."""
import numpy as np
import pytest

from nanovlm_ros.engine.sampler import Sampler, sample_rows
from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError

VOCAB = 50
NONE_SEEN = np.empty(0, np.int64)


class Alone(Sampler):
    """Samples the tokens of a request that runs alone."""

    def sample(self, logits, allowed=None):
        token, = sample_rows(logits[None], [self], [allowed])
        return self.accept(token)


def sampler(seen=NONE_SEEN, vocab=VOCAB, **config):
    return Alone(GenerationConfig(**config), np.asarray(seen, np.int64), vocab)


def random_logits(seed, vocab=VOCAB, spread=3.0):
    return np.random.default_rng(seed).normal(0, spread, vocab).astype(np.float32)


def draws(logits, count, allowed=None, **config):
    """Draw independently: nothing that was drawn is remembered, for there is no penalty."""
    made = sampler(vocab=len(logits), **config)
    return np.array([made.sample(logits, allowed) for _ in range(count)])


def nucleus(logits, temperature, top_p):
    """Return the probabilities after top-p, by its definition, one token at a time."""
    odds = [np.exp(float(value) / temperature) for value in logits]
    chances = {token: value / sum(odds) for token, value in enumerate(odds)}
    kept, reached = [], 0.0
    for token in sorted(chances, key=chances.get, reverse=True):
        if reached >= top_p:
            break
        kept.append(token)
        reached += chances[token]
    return {token: chances[token] / reached for token in kept}


def test_temperature_zero_takes_the_likeliest_whatever_the_seed_and_top_p():
    for seed in range(30):
        logits = random_logits(seed)
        assert sampler(seed=seed, top_p=0.1).sample(logits) == int(np.argmax(logits))


def test_a_seed_repeats_the_tokens_and_another_one_does_not():
    logits = random_logits(1)
    first, again, other = (draws(logits, 60, temperature=1.5, seed=seed).tolist()
                           for seed in (5, 5, 6))
    assert first == again != other


@pytest.mark.parametrize('temperature, top_p', [
    (1.0, 0.9), (1.0, 0.5), (0.7, 0.95), (2.0, 0.8), (1.0, 1.0), (1.0, 1e-9)])
def test_top_p_draws_the_smallest_set_that_reaches_it_at_its_chances(temperature, top_p):
    logits = random_logits(7, vocab=20, spread=1.5)
    want = nucleus(logits, temperature, top_p)
    count = 20_000
    drawn = np.bincount(draws(logits, count, temperature=temperature, top_p=top_p), minlength=20)
    assert set(np.flatnonzero(drawn)) <= set(want)
    for token, chance in want.items():
        # Six standard deviations: the seed is fixed, so that this cannot come and go.
        assert abs(drawn[token] - count * chance) <= 6 * (count * chance) ** 0.5 + 1


def test_a_set_that_reaches_top_p_exactly_has_no_further_token():
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125]))
    assert set(draws(logits, 500, temperature=1.0, top_p=0.5)) == {0}
    assert set(draws(logits, 500, temperature=1.0, top_p=0.75)) == {0, 1}


def test_a_small_temperature_approaches_greedy():
    logits = random_logits(3)
    assert set(draws(logits, 200, temperature=1e-4)) == {int(np.argmax(logits))}


def test_logits_as_large_as_floats_can_be_are_no_problem():
    logits = np.array([3e38, -3e38, 0, 3e38], np.float32)
    assert set(draws(logits, 200, temperature=1e-3)) == {0, 3}


def test_the_penalty_divides_what_is_positive_and_multiplies_what_is_negative():
    # 4 / 2 = 2 < 3, and -1 * 2 = -2 < -1.5: each penalised one falls behind its neighbour.
    assert sampler([], 2, repetition_penalty=2.0).sample(np.array([4.0, 3.0])) == 0
    assert sampler([0], 2, repetition_penalty=2.0).sample(np.array([4.0, 3.0])) == 1
    assert sampler([0], 2, repetition_penalty=2.0).sample(np.array([-1.0, -1.5])) == 1
    # 4 / 1.25 = 3.2 > 3, and -1 * 1.25 > -1.5: not yet.
    assert sampler([0], 2, repetition_penalty=1.25).sample(np.array([4.0, 3.0])) == 0
    assert sampler([0], 2, repetition_penalty=1.25).sample(np.array([-1.0, -1.5])) == 0


def test_the_penalty_counts_the_prompt_and_what_was_drawn_once_each():
    logits = np.linspace(3.0, 2.0, 10)
    made = sampler([0, 0, 0], 10, repetition_penalty=10.0)
    assert [made.sample(logits) for _ in range(9)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert made.sample(logits) == 0, 'all are penalised alike, none twice'


def test_the_penalty_is_the_formula_on_random_logits():
    for seed in range(50):
        logits, random = random_logits(seed), np.random.default_rng(seed)
        seen = random.integers(0, VOCAB, 20)
        penalty = random.uniform(0.5, 2.5)
        want = [value / penalty if value > 0 else value * penalty for value in logits.tolist()]
        want = [w if token in seen else v for token, (w, v) in enumerate(zip(want, logits))]
        untouched = logits.copy()
        got = sampler(seen, repetition_penalty=penalty).sample(logits)
        assert got == int(np.argmax(want))
        np.testing.assert_array_equal(logits, untouched)


def test_prompt_ids_beyond_the_logits_are_no_problem():
    assert sampler([3, 60, 1000], repetition_penalty=1.2).sample(random_logits(2)) < VOCAB


@pytest.mark.parametrize('temperature', [0.0, 0.5, 1.0, 100.0])
def test_a_masked_token_is_never_drawn(temperature):
    random = np.random.default_rng(11)
    for seed in range(200):
        allowed = random.random(VOCAB) < 0.1
        allowed[random.integers(VOCAB)] = True
        logits = random_logits(seed)
        logits[~allowed] += 50  # all that is masked is likelier than all that is allowed
        drawn = draws(logits, 10, allowed, temperature=temperature, seed=seed)
        assert allowed[drawn].all()


def test_one_allowed_token_is_the_one_that_is_drawn():
    allowed = np.zeros(VOCAB, bool)
    allowed[31] = True
    logits = random_logits(4)
    logits[31] = -80
    assert set(draws(logits, 50, allowed, temperature=0.01)) == {31}


@pytest.mark.parametrize('temperature', [0.0, 1.0])
@pytest.mark.parametrize('poison', [np.nan, np.inf])
def test_logits_without_sense_end_as_a_model_error(temperature, poison):
    logits = random_logits(5)
    logits[9] = poison
    with pytest.raises(NanoVlmError) as caught:
        sampler(temperature=temperature).sample(logits)
    assert caught.value.code == ErrorCode.MODEL_ERROR and 'NaN' in caught.value.message


def test_a_mask_that_allows_nothing_ends_as_a_model_error():
    with pytest.raises(NanoVlmError) as caught:
        sampler().sample(random_logits(6), np.zeros(VOCAB, bool))
    assert caught.value.code == ErrorCode.MODEL_ERROR and 'masked' in caught.value.message
