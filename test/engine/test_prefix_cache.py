# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A prompt starts from the longest prefix that is kept; what is of no more use is given back."""
import random

import numpy as np

from nanovlm_ros.engine.prefix_cache import PrefixCache


def keys(*values):
    return np.array(values, np.int64)


def filled(*sequences):
    """Return a cache that keeps sequences 0, 1, 2, ..., in this order."""
    cache = PrefixCache()
    for number, values in enumerate(sequences):
        assert cache.keep(number, keys(*values)) is None
    return cache


def test_an_empty_cache_matches_nothing_and_has_nothing_to_evict():
    cache = PrefixCache()
    assert cache.match(keys(1, 2, 3)) == (None, 0)
    assert cache.evict() is None and len(cache) == 0


def test_the_longest_common_prefix_wins():
    cache = filled((1, 2, 9, 9), (1, 2, 3, 9), (1, 8, 8))
    assert cache.match(keys(1, 2, 3, 4, 5)) == (1, 3)
    assert cache.match(keys(1, 2, 9, 1)) == (0, 3)
    assert cache.match(keys(1, 8, 7)) == (2, 2)
    assert cache.match(keys(7, 7)) == (None, 0)


def test_the_last_row_is_never_shared_for_it_must_be_run_for_its_logits():
    cache = filled((1, 2, 3))
    assert cache.match(keys(1, 2, 3)) == (0, 2)
    assert cache.match(keys(1, 2, 3, 4)) == (0, 3)
    assert cache.match(keys(1)) == (None, 0)


def test_a_sequence_that_a_longer_one_covers_is_given_back():
    cache = filled((1, 2, 3), (5, 6))
    assert cache.keep(2, keys(1, 2, 3, 4)) == 0
    assert len(cache) == 2
    assert cache.match(keys(1, 2, 3, 4, 5)) == (2, 4)


def test_the_same_rows_are_kept_once():
    cache = filled((1, 2, 3))
    assert cache.keep(1, keys(1, 2, 3)) == 0
    assert len(cache) == 1 and cache.evict() == 1


def test_a_sequence_that_differs_somewhere_stays():
    cache = filled((1, 2, 3))
    assert cache.keep(1, keys(1, 2, 4, 5)) is None
    assert len(cache) == 2


def test_the_least_recently_used_goes_first():
    cache = filled((1, 1), (2, 2), (3, 3))
    cache.match(keys(1, 1, 1))
    assert [cache.evict(), cache.evict(), cache.evict(), cache.evict()] == [1, 2, 0, None]


def test_a_miss_uses_nothing():
    cache = filled((1, 1), (2, 2))
    cache.match(keys(9, 9))
    assert cache.evict() == 0


def test_random_use_gives_each_sequence_back_once_and_matches_as_a_search_would():
    choose = random.Random(1)
    cache, kept = PrefixCache(), {}
    for number in range(500):
        values = tuple(choose.choices((1, 2, 3), k=choose.randint(1, 7)))

        def common(known, values=values):
            length = 0
            while length < min(len(known), len(values) - 1) and known[length] == values[length]:
                length += 1
            return length
        found, shared = cache.match(keys(*values))
        assert shared == max(map(common, kept.values()), default=0)
        assert found is None if not shared else common(kept[found]) == shared
        useless = cache.keep(number, keys(*values))
        kept[number] = values
        if useless is not None:
            gone = kept.pop(useless)
            assert useless != number and values[:len(gone)] == gone
        if choose.random() < 0.2:
            kept.pop(cache.evict())
        assert len(cache) == len(kept)
