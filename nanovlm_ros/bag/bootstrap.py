# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals of means, ratios and percentiles of a series in time.

Percentile bootstrap (Efron & Tibshirani 1993, ch. 13). Answers at neighbouring stamps
are correlated, so blocks of neighbours are drawn, not single ones: the circular block
bootstrap of Politis & Romano (1992), with the block length of Politis & White (2004) as
corrected by Patton, Politis & White (2009). Everything is seeded: the same series gives
the same interval.
"""
from typing import Callable, Iterator, Optional, Sequence, Tuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0
_CHUNK = 4_000_000  # numbers held at a time

Interval = Tuple[float, float]


def block_length(series: np.ndarray) -> int:
    """Return how many neighbours belong together; 1 for a series without correlation.

    `series` has shape (n,). With autocovariances R(k), m the lag from which on they are
    noise, M = 2m and the flat-top window w: G = sum of w(k/M) |k| R(k), g = sum of
    w(k/M) R(k), length = (2 G^2 / (4/3 g^2))^(1/3) n^(1/3).
    """
    n = len(series)
    centred = np.asarray(series, np.float64) - np.mean(series)
    if n < 4 or not np.any(np.abs(centred) > 1e-12):
        return 1
    run = max(5, int(np.sqrt(np.log10(n))))  # so many lags in a row must be noise
    most = int(np.ceil(np.sqrt(n))) + run
    covariance = _autocovariance(centred, min(most, n - 1))
    noise = 2 * np.sqrt(np.log10(n) / n)
    quiet = np.abs(covariance[1:] / covariance[0]) < noise
    last = next((m for m in range(len(quiet)) if quiet[m:m + run].all()), len(quiet))
    window = min(2 * max(last, 1), len(covariance) - 1)
    lags = np.arange(-window, window + 1)
    taper = np.clip(2 * (1 - np.abs(lags) / window), 0, 1)
    weighted = taper * covariance[np.abs(lags)]
    spread, slope = weighted.sum(), (np.abs(lags) * weighted).sum()
    if abs(spread) < 1e-12:
        return 1
    length = (2 * slope ** 2 / (4 / 3 * spread ** 2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, max(1, min(3 * np.sqrt(n), n / 3))))


def _autocovariance(centred: np.ndarray, lags: int) -> np.ndarray:
    n = len(centred)
    return np.array([centred[:n - k] @ centred[k:] / n for k in range(lags + 1)])


def of_sums(columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray],
            length: Optional[int] = None, resamples: int = RESAMPLES,
            seed: int = SEED) -> Optional[Interval]:
    """Return the interval of a statistic that is a function of sums over time.

    `columns` has shape (stamps, k), in the order of time; `statistic` maps sums of shape
    (m, k) to (m,), NaN where it is not defined. `length` is that of the blocks (None:
    from the first column). None: fewer than two stamps, or never defined.
    """
    n = len(columns)
    if n < 2:
        return None
    length = length or block_length(columns[:, 0])
    columns = np.asarray(columns, np.float64)
    around = np.vstack([np.zeros((1, columns.shape[1])), columns, columns])
    running = np.cumsum(around, axis=0)
    starts_of = np.arange(n)
    whole = running[starts_of + length] - running[starts_of]
    rest = n % length
    partial = running[starts_of + rest] - running[starts_of]
    estimates = []
    for starts in _starts(n, n // length + bool(rest), resamples, seed):
        cut = starts.shape[1] - bool(rest)  # the last block is cut so that n are drawn
        sums = whole[starts[:, :cut]].sum(axis=1)
        if rest:
            sums += partial[starts[:, -1]]
        estimates.append(statistic(sums))
    return _percentiles(np.concatenate(estimates))


def of_percentiles(series: np.ndarray, percents: Sequence[float], resamples: int = RESAMPLES,
                   seed: int = SEED) -> Sequence[Optional[Interval]]:
    """Return the interval of each percentile of a series in the order of time."""
    n = len(series)
    if n < 2:
        return [None] * len(percents)
    length = block_length(series)
    blocks = -(-n // length)
    found = []
    for starts in _starts(n, blocks, resamples, seed, width=length * blocks):
        index = (starts[:, :, None] + np.arange(length)).reshape(len(starts), -1)[:, :n] % n
        found.append(np.percentile(series[index], percents, axis=1))
    return [_percentiles(row) for row in np.concatenate(found, axis=1)]


def _starts(n: int, blocks: int, resamples: int, seed: int,
            width: int = 0) -> Iterator[np.ndarray]:
    """Yield first positions of blocks, (some resamples, blocks), as many as fit in memory."""
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(blocks, width))
    for begin in range(0, resamples, step):
        yield random.integers(0, n, (min(step, resamples - begin), blocks))


def _percentiles(estimates: np.ndarray) -> Optional[Interval]:
    defined = estimates[np.isfinite(estimates)]
    if not len(defined):
        return None
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def widened(interval: Optional[Interval], share: float, n: int) -> Optional[Interval]:
    """Return the interval of a share; if all or none of n were right, by the rule of three.

    Resampling identical values gives an interval of width 0, which claims too much: with
    no error among n the error rate may be 3/n (Hanley & Lippman-Hand 1983).
    """
    if interval is None or share not in (0.0, 1.0):
        return interval
    margin = min(1.0, 3 / n)
    return (1 - margin, 1.0) if share else (0.0, margin)
