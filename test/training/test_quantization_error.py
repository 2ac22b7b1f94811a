# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The error of a quantisation is what it says."""
import numpy as np
import pytest

from training.quantization_error import Difference


def test_equal_logits_do_not_differ():
    logits = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    d = Difference.between(logits, logits)
    assert (d.max_abs, d.mean_abs, d.mean_kl, d.max_kl, d.top1) == (0, 0, 0, 0, 100)


def test_differences_are_those_of_the_distributions():
    p, q = np.array([.5, .25, .25]), np.array([.25, .5, .25])
    d = Difference.between(np.log([q, p]), np.log([p, p]))
    kl = (p * np.log(p / q)).sum()
    assert d.max_kl == pytest.approx(kl) and d.mean_kl == pytest.approx(kl / 2)
    assert d.max_abs == pytest.approx(np.log(2)) and d.top1 == 50
    assert d.mean_abs == pytest.approx(np.log(2) / 3)


def test_what_is_added_to_every_logit_is_no_change_of_the_distribution():
    logits = np.array([[1000.0, 999.0, 990.0]])
    assert Difference.between(logits + 500, logits).max_kl == pytest.approx(0, abs=1e-12)
