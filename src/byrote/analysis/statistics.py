"""Means over seeds, paired differences and rank correlations, each with one value per seed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from byrote.analysis.samples import NOTHING, Array, Sample, finite_points, leaving_out, numbered, plain_key, sampled

__all__ = ["Reading", "mean_over_seeds", "paired_difference", "spearman", "unreliable"]

Reading = tuple[ArrayLike, Sequence[Hashable], Sequence[Hashable]]


def mean_over_seeds(values: ArrayLike, seeds: Sequence[Hashable]) -> Sample:
    """The mean over runs, where the runs of each seed are averaged first. Runs with a non-finite value are left out.

    Args:
        values: (R,), one number per run.
        seeds: (R,), the seed of each run.

    >>> mean_over_seeds([1.0, 3.0, 5.0], [0, 0, 1]).values
    array([2., 5.])
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    finite = [seed for seed, good in zip(seeds, known, strict=True) if good]
    order, at = numbered(finite)
    means = np.bincount(at, numbers[known], len(order)) / np.bincount(at, minlength=len(order))
    return Sample(means, order, whole=float(means.mean()) if len(means) else float("nan"))


def paired_difference(first: Reading, second: Reading) -> Sample:
    """first - second, paired by seed and eta: for each seed, the mean difference over the eta in both sets of runs.

    Args:
        first, second: (values, seeds, etas) of the runs, each (R,); runs whose value is not finite are left out.

    Raises:
        ValueError: two runs with the same seed and eta, which must belong to different settings that cannot be mixed.

    >>> paired_difference(([3.0, 5.0], [0, 1], [0.1, 0.1]), ([1.0, 1.0, 9.0], [0, 1, 2], [0.1, 0.1, 0.1])).values
    array([2., 4.])
    """
    a, b = _by_seed_and_eta(first), _by_seed_and_eta(second)
    shared = [key for key in a if key in b]
    return mean_over_seeds([a[key] - b[key] for key in shared], [seed for seed, _ in shared])


def spearman(x: ArrayLike, y: ArrayLike, seeds: Sequence[Hashable]) -> Sample:
    """The atanh of Spearman's rank correlation over runs, with a jackknife over seeds; ties get their middle rank.

    A perfect correlation of R runs has an infinite atanh, so it is replaced by a value half a step below 1. A step, the
    distance from 1 to the next possible value, is 12 / (R^3 - R).

    Args:
        x, y: (R,), one point per run; runs where either is not finite are left out.
        seeds: (R,).

    >>> found = spearman([1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6], [0, 1, 2, 0, 1, 2])
    >>> found.scale, round(float(np.tanh(found.whole)), 4)
    ('atanh', 0.8857)
    """
    a, b, order, at = finite_points(x, y, seeds)
    weights = leaving_out(len(order))[:, at]  # (n + 1, R): all runs, then all runs except those of one seed
    ranks = [_middle_ranks(column, weights) for column in (a, b)]
    total = weights.sum(1, keepdims=True)
    u, v = (rank - (weights * rank).sum(1, keepdims=True) / np.maximum(total, 1.0) for rank in ranks)
    squares = (weights * u * u).sum(1) * (weights * v * v).sum(1)
    known = squares > NOTHING
    rho = np.where(known, (weights * u * v).sum(1) / np.sqrt(np.where(known, squares, 1.0)), np.nan)
    size = np.maximum(total[:, 0], 2.0)
    most = 1 - 6 / (size**3 - size)
    return sampled(np.arctanh(np.clip(rho, -most, most)), order, "atanh", "one of the two readings does not vary")


def unreliable(values: ArrayLike, conditions: Sequence[Hashable], binomial: float) -> str:
    """Why a reading varies too little between conditions for a correlation; empty if it varies enough.

    Rule: a reading varies enough if the variance within a condition is at most half of the total variance, and the
    total is at least twice the binomial variance that comes from counting finitely many samples.

    Args:
        values: (R,), one number per run, finite.
        conditions: (R,), the condition of each run, such as its loss and eta. Runs of one condition differ by seed.
        binomial: the variance of one value due to counting samples alone, p (1 - p) / samples; 0 for a reading that is
            not a share of samples.

    >>> unreliable([0.1, 0.11, 0.3, 0.31], ["a", "a", "b", "b"], 0.0001)
    ''
    >>> unreliable([0.1, 0.3, 0.12, 0.29], ["a", "a", "b", "b"], 0.0001)
    'seeds vary as much as conditions: variance 0.0172 within a condition, 0.0115 in all'
    """
    numbers = np.asarray(values, dtype=np.float64)
    order, at = numbered(conditions)
    if len(numbers) <= len(order):
        return "no condition has two runs, so that the spread within a condition is not known"
    sums, counts = np.bincount(at, numbers, len(order)), np.bincount(at, minlength=len(order))
    within = float(np.sum((numbers - (sums / counts)[at]) ** 2)) / (len(numbers) - len(order))
    total = float(np.var(numbers, ddof=1))
    if total < 2 * binomial or total == 0:
        return f"hardly varies: variance {total:.3g} in all, {binomial:.3g} by counting samples alone"
    if within > total / 2:
        return f"seeds vary as much as conditions: variance {within:.3g} within a condition, {total:.3g} in all"
    return ""


def _middle_ranks(column: Array, weights: Array) -> Array:
    """Ranks of a column among the runs in each row of weights, with middle ranks for ties: (R,), (B, R) -> (B, R)."""
    distinct, group = np.unique(column, return_inverse=True)
    held = weights @ (group[:, None] == np.arange(len(distinct))).astype(np.float64)  # (B, G)
    return np.asarray((np.cumsum(held, axis=1) - held / 2)[:, group])


def _by_seed_and_eta(reading: Reading) -> dict[tuple[Hashable, Hashable], float]:
    values, seeds, etas = reading
    value_of: dict[tuple[Hashable, Hashable], float] = {}
    for value, seed, eta in zip(np.asarray(values, dtype=np.float64).tolist(), seeds, etas, strict=True):
        key = (plain_key(seed), plain_key(eta))
        if key in value_of:
            raise ValueError(
                f"expected one run per seed and eta, got two at seed {key[0]}, eta {key[1]}: split settings"
            )
        value_of[key] = value
    return {key: value for key, value in value_of.items() if np.isfinite(value)}
