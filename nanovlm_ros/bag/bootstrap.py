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
MOST_BLOCKS = 10_000  # more cost time, and move the ends of an interval by 1 % of its width
_VALUES = 100_000_000  # drawn for the percentiles of a series, at most
_CHUNK = 4_000_000  # numbers held at a time

Interval = Tuple[float, float]


def block_length(series: np.ndarray) -> int:
    """Return how many neighbours belong together; 1 for a series without correlation.

    More where the series is so long that there would be more than MOST_BLOCKS.

    `series` has shape (n,). With autocovariances R(k), m the lag from which on they are
    noise, M = 2m and the flat-top window w: G = sum of w(k/M) |k| R(k), g = sum of
    w(k/M) R(k), length = (2 G^2 / (4/3 g^2))^(1/3) n^(1/3).
    """
    n = len(series)
    least = -(-n // MOST_BLOCKS)
    centred = np.asarray(series, np.float64) - np.mean(series)
    if n < 4 or not np.any(np.abs(centred) > 1e-12):
        return least
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
        return least
    length = (2 * slope ** 2 / (4 / 3 * spread ** 2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(np.ceil(length), least, max(least, min(3 * np.sqrt(n), n / 3))))


def _autocovariance(centred: np.ndarray, lags: int) -> np.ndarray:
    n = len(centred)
    size = 1 << (n + lags).bit_length()  # zeros behind the series: its ends do not meet
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    return np.fft.irfft(power)[:lags + 1] / n


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
    """Return the interval of each percentile (type 7) of a series in the order of time.

    Sorted once: a resample says how often each value is drawn, and so which has a rank. Fewer
    resamples of a long series: _VALUES are drawn.
    """
    n = len(series)
    if n < 2:
        return [None] * len(percents)
    length = block_length(series)
    order = np.argsort(series)
    ordered = series[order]
    places = np.asarray(percents) / 100 * (n - 1)
    below = places.astype(int)
    above = np.minimum(below + 1, n - 1)
    estimates = []
    for some in _starts(n, -(-n // length), min(resamples, -(-_VALUES // n)), seed):
        for starts in some:
            held = np.cumsum(_times_drawn(starts, n, length).take(order))
            low, high = (ordered[np.searchsorted(held, rank, 'right')] for rank in (below, above))
            estimates.append(low + (high - low) * (places - below))
    return [_percentiles(each) for each in np.transpose(estimates)]


def _times_drawn(starts: np.ndarray, n: int, length: int) -> np.ndarray:
    """Return how often blocks at `starts`, the last one cut, draw each of n, (n,); n in all."""
    begun = np.cumsum(np.bincount(starts[:-1], minlength=n))
    ended = np.roll(begun, length)
    ended[:length] -= begun[-1]  # those reach over the end of the series
    drawn = (begun - ended).astype(np.int32)  # half the memory to sort
    last = (starts[-1] + np.arange(n - length * (len(starts) - 1))) % n
    drawn[last] += 1
    return drawn


def _starts(n: int, blocks: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield first positions of blocks, (some resamples, blocks), as many as fit in memory."""
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // blocks)
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
