"""Samples: one value per seed of a statistic, from which Student's interval over seeds is computed.

A mean or a paired difference naturally has one value per seed. For a statistic of many runs (a slope, an error, a rank
correlation), the jackknife gives one value per seed. Let theta be the statistic of all runs and theta_i the statistic
without the runs of seed i. Then the pseudo-value of seed i is n theta - (n - 1) theta_i (Tukey 1958). The runs of a
seed at all eta are left out together, because they share their initial weights. Ratios and errors are transformed by
log and rank correlations by atanh, which makes their spread closest to normal.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from byrote.intervals import student

__all__ = [
    "NOTHING",
    "Array",
    "Estimate",
    "Sample",
    "Scale",
    "finite_points",
    "jackknife",
    "leaving_out",
    "numbered",
    "plain_key",
    "sampled",
]

Array = NDArray[np.float64]
Scale = Literal["plain", "log", "atanh"]
NOTHING = 1e-12  # a variance below this fraction of the variance over all points counts as zero


@dataclass(frozen=True)
class Estimate:
    """A value with its interval (95% by default) from `n` seeds or, for a share, from `n` runs."""

    value: float
    low: float
    high: float
    n: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Sample:
    """One value per seed of a statistic: the mean of the values is the estimate, and their spread gives its error.

    If the runs do not determine the statistic, every value is NaN and `reason` states why.
    """

    values: Array = field(repr=False)  # (n,), on `scale`
    seeds: tuple[Hashable, ...]
    scale: Scale = "plain"
    whole: float = float("nan")  # the statistic of all runs at once, on `scale`, without bias correction
    reason: str = ""

    def estimate(self, confidence: float = 0.95) -> Estimate:
        """The mean over seeds with Student's interval, on the sample's scale.

        >>> Sample(np.array([1.0, 2.0, 3.0]), (0, 1, 2)).estimate()
        Estimate(value=2.0, low=-0.48..., high=4.48..., n=3)
        """
        low, high = student(self.values, confidence)
        value = float(np.mean(self.values)) if len(self.values) else float("nan")
        return Estimate(value, float(low), float(high), len(self.values))


def jackknife(whole: float, left_out: Array) -> Array:
    """Pseudo-values n whole - (n - 1) left_out[i]; for a mean these are the values themselves.

    Args:
        whole: the statistic of all runs.
        left_out: (n,) the statistic without each seed. With n = 1 no run is left, and the only value is `whole`.

    >>> jackknife(2.0, np.array([2.5, 2.0, 1.5]))  # the mean of 1, 2, 3 without each of them
    array([1., 2., 3.])
    """
    n = len(left_out)
    return np.array([whole]) if n == 1 else n * whole - (n - 1) * np.asarray(left_out, dtype=np.float64)


def sampled(statistics: Array, seeds: tuple[Hashable, ...], scale: Scale, why: str) -> Sample:
    """The sample of a statistic, from its value for all seeds (first entry) and without each seed (other entries)."""
    n = len(seeds)
    if n == 0:
        return Sample(np.zeros(0), (), scale, reason="no seed has runs in everything that is compared")
    needed = statistics[:1] if n == 1 else statistics
    if not np.isfinite(needed).all():
        return Sample(np.full(n, np.nan), seeds, scale, reason=why)
    return Sample(jackknife(float(statistics[0]), statistics[1:]), seeds, scale, float(statistics[0]))


def leaving_out(n: int) -> Array:
    """The weight of each seed, (n + 1, n): 1 for all seeds in the first row, and 0 for one seed in each other row."""
    return np.concatenate([np.ones((1, n)), 1.0 - np.eye(n)])


def finite_points(
    x: ArrayLike, y: ArrayLike, seeds: Sequence[Hashable]
) -> tuple[Array, Array, tuple[Hashable, ...], NDArray[np.intp]]:
    """The points with finite x and y, the distinct seeds in order of first appearance, and each point's seed number."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not a.shape == b.shape == (len(seeds),):
        raise ValueError(f"expected one x, one y and one seed per run, got {a.shape}, {b.shape} and {len(seeds)}")
    known = np.isfinite(a) & np.isfinite(b)
    order, at = numbered([seed for seed, good in zip(seeds, known, strict=True) if good])
    return a[known], b[known], order, at


def numbered(keys: Sequence[Hashable]) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """The distinct keys in order of first appearance, and the number of each entry's key."""
    number: dict[Hashable, int] = {}
    at = np.array([number.setdefault(plain_key(key), len(number)) for key in keys], dtype=np.intp)
    return tuple(number), at


def plain_key(key: Hashable) -> Hashable:
    return key.item() if isinstance(key, np.generic) else key
