# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Slots are shared, counted and given back."""
import numpy as np
import pytest

from nanovlm_ros.mlc.kv_cache import KVCache, OutOfSlots


def test_a_fork_shares_rows_until_both_are_gone():
    cache = KVCache(10)
    parent = cache.add()
    slots = cache.extend(parent, 6)
    child = cache.fork(parent, 4)
    np.testing.assert_array_equal(cache.table([child])[0], slots[:4])
    cache.remove(parent)
    assert cache.free == 6  # the two rows that the child did not share came back
    cache.remove(child)
    assert cache.free == 10


def test_dropping_rows_keeps_the_others_in_order():
    cache = KVCache(10)
    sequence = cache.add()
    slots = cache.extend(sequence, 8)
    cache.drop(sequence, 2, 5)
    np.testing.assert_array_equal(cache.table([sequence])[0], [*slots[:2], *slots[5:]])
    assert cache.free == 5


def test_a_row_dropped_by_one_owner_lives_on_for_the_other():
    cache = KVCache(10)
    parent = cache.add()
    cache.extend(parent, 8)
    child = cache.fork(parent, 8)
    cache.drop(parent, 0, 8)
    assert cache.free == 2
    cache.remove(child)
    assert cache.free == 10


def test_a_full_pool_refuses_and_changes_nothing():
    cache = KVCache(4)
    sequence = cache.add()
    cache.extend(sequence, 3)
    with pytest.raises(OutOfSlots, match='1 of 4 rows free and 2 are needed'):
        cache.extend(sequence, 2)
    assert (cache.length(sequence), cache.free) == (3, 1)


def test_no_slot_has_two_writers_and_none_leaks_over_many_random_steps():
    random = np.random.default_rng(0)
    cache, model = KVCache(200), {}
    for _ in range(5000):
        action = random.integers(5)
        if action == 0 or not model:
            model[cache.add()] = []
            continue
        sequence = int(random.choice(list(model)))
        rows = model[sequence]
        if action == 1 and cache.free >= 9:
            fresh = cache.extend(sequence, int(random.integers(1, 10))).tolist()
            taken = {slot for other in model.values() for slot in other}
            assert not taken & set(fresh)
            rows += fresh
        elif action == 2:
            length = int(random.integers(0, len(rows) + 1))
            model[cache.fork(sequence, length)] = rows[:length]
        elif action == 3:
            start, stop = sorted(random.integers(0, len(rows) + 1, 2))
            cache.drop(sequence, start, stop)
            del rows[start:stop]
        elif len(model) > 3:
            cache.remove(sequence)
            del model[sequence]
        used = {slot for other in model.values() for slot in other}
        assert cache.free == 200 - len(used)
    for sequence, rows in model.items():
        np.testing.assert_array_equal(cache.table([sequence])[0], rows)
