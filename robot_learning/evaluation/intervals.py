"""Intervals and comparisons for success rates and scores."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""
_RESAMPLES = 10_000


def wilson(successes: float, trials: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate (Wilson, JASA 1927); ``(0, 1)`` without trials."""
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mean_over_tasks(by_task: Mapping[str, Sequence[float]], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean over tasks of the mean over trials, with a 95 % interval.

    The interval is a bootstrap stratified by task: trials are redrawn within their task, tasks are fixed (they are the whole
    benchmark, not a sample of one). For a single task this is the plain bootstrap of its mean.
    """
    groups = [np.asarray(values, dtype=np.float64) for values in by_task.values()]
    rng = np.random.default_rng(seed)
    means = np.mean([_resampled(group, rng) for group in groups], axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([group.mean() for group in groups])), float(low), float(high)


def paired_difference(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of ``a - b`` over the same trials, with a 95 % bootstrap interval over trials."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    means = _resampled(difference, np.random.default_rng(seed))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Return the exact two-sided p-value that two policies succeed equally often on the same trials (McNemar 1947)."""
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    discordant = only_a + only_b
    tail: float = sum(math.comb(discordant, k) for k in range(min(only_a, only_b) + 1)) / 2**discordant
    return min(1.0, 2 * tail)


def _resampled(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    means: NDArray[np.float64] = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    return means
