"""The few statistics claims are decided with: intervals over seeds, over samples, and of fitted lines.

Everything is deterministic (the bootstrap has a fixed seed) and vectorised over the resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "DRAWS",
    "Estimate",
    "Fit",
    "bootstrapped",
    "fit_line",
    "mean_over_seeds",
    "minus",
    "resamples",
    "share_of_runs",
    "spearman",
    "t_quantile",
    "wilson",
]

Array = NDArray[np.float64]
DRAWS = 4000
_RNG_SEED = 20230
_DETERMINED = 0.99
_ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, from `n` seeds (or runs, for a share of runs).

    `low` and `high` are infinite where nothing bounds the value (one seed and no samples to count).
    """

    value: float
    low: float
    high: float
    n: int
    share: bool = False  # a share of n runs with the exact interval

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def shifted(self, by: float) -> Estimate:
        """The estimate of value + by, `by` known exactly."""
        return Estimate(self.value + by, self.low + by, self.high + by, self.n)

    def over(self, unit: float) -> Estimate:
        """The estimate in units of `unit` > 0, taken as known."""
        return Estimate(self.value / unit, self.low / unit, self.high / unit, self.n)


def t_quantile(n: Array | int) -> Array:
    """The 97.5% quantile of Student's t with n - 1 degrees of freedom."""
    return np.asarray(special.stdtrit(np.asarray(n, dtype=np.float64) - 1, 0.975))


def wilson(successes: float, trials: float, n: int = 1) -> Estimate:
    """A share with Wilson's 95% score interval (Wilson 1927): right at 0 and 1, where the normal one is empty.

    >>> estimate = wilson(9, 10)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.596, 0.982)
    """
    if trials <= 0:
        return Estimate(math.nan, -math.inf, math.inf, n)
    z = float(special.ndtri(0.975))
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    return Estimate(p, max(min(centre - half, p), 0.0), min(max(centre + half, p), 1.0), n)


def share_of_runs(successes: float, runs: int) -> Estimate:
    """A share of runs with the exact interval of Clopper and Pearson (1934), which does not trust one run.

    >>> round(share_of_runs(0, 1).high, 3), round(share_of_runs(36, 36).low, 3)
    (0.975, 0.903)
    """
    low = float(special.betaincinv(successes, runs - successes + 1, 0.025)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, runs - successes, 0.975)) if successes < runs else 1.0
    return Estimate(successes / runs, low, high, runs, share=True)


def mean_over_seeds(values: Array, trials: float = 0.0) -> Estimate:
    """The mean over seeds with Student's t interval; of one seed, Wilson's over `trials` samples.

    Args:
        values: (S,), one number a seed; a share in [0, 1] where `trials` is given.
        trials: how many samples a single seed's share counts; 0 when the value is no share, and then one seed
            has an unbounded interval.

    >>> mean_over_seeds(np.array([1.0, 2.0, 3.0])).low < 0 < mean_over_seeds(np.array([1.0, 1.1])).low
    True
    """
    n = len(values)
    if n == 0:
        return Estimate(math.nan, -math.inf, math.inf, 0)
    mean = float(np.mean(values))
    if n == 1:
        return wilson(mean * trials, trials) if trials else Estimate(mean, -math.inf, math.inf, 1)
    half = float(t_quantile(n)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def minus(first: Estimate, second: Estimate) -> Estimate:
    """first - second of two independent estimates, by the method of variance recovery (MOVER, Newcombe 1998)."""
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, low, high, min(first.n, second.n))


@cache
def resamples(seeds: int) -> Array:
    """How often each seed is drawn in each bootstrap resample: (DRAWS, S), rows sum to S, always the same."""
    rng = np.random.default_rng([_RNG_SEED, seeds])
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS).astype(np.float64)
    counts.setflags(write=False)
    return counts


def bootstrapped(value: float, draws: Array, seeds: int, limits: tuple[float, float] = _ANY) -> Estimate:
    """value +- t_{n-1} sqrt(n/(n-1)) times the standard deviation of its bootstrap draws over n seeds.

    Of a mean this is Student's interval. Percentiles of the draws would be too narrow: with three seeds an interval
    between the extremes of all resamples covers a ratio of slopes in 77% of cases, this one in 97%. A draw that is
    not finite says that a resample does not determine the statistic: more than one in a hundred leave the interval
    unbounded.

    Args:
        value: the statistic of the runs themselves.
        draws: (DRAWS,) the statistic of each resample.
        seeds: n; below 2 the interval is unbounded.
        limits: the range of the statistic, to which the interval is cut.
    """
    determined = np.isfinite(draws)
    if seeds < 2 or np.mean(determined) < _DETERMINED:
        return Estimate(value, -math.inf, math.inf, seeds)
    half = float(t_quantile(seeds)) * math.sqrt(seeds / (seeds - 1)) * float(np.std(draws[determined]))
    return Estimate(value, max(value - half, limits[0]), min(value + half, limits[1]), seeds)


def _line(sums: Array) -> tuple[Array, Array, Array]:
    """Slope, intercept and R^2 from the sums of (1, x, y, xx, xy, yy) on the last axis."""
    n, x, y, xx, xy, yy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_y, cov = xx - x * x / n, yy - y * y / n, xy - x * y / n
        slope = np.where(var_x > 1e-12 * n, cov / var_x, np.nan)
        intercept = (y - slope * x) / n
        r2 = np.where(var_y > 1e-12 * n, slope * cov / var_y, np.nan)
    return slope, intercept, r2


def _leave_one_eta_out(sums: Array) -> Array:
    """Root mean squared error of each eta predicted from the line through the others: (..., E, 6) -> (...)."""
    slope, intercept, _ = _line(sums.sum(-2, keepdims=True) - sums)  # (..., E)
    n, x, y, xx, xy, yy = np.moveaxis(sums, -1, 0)
    a, b = intercept, slope
    squared = yy - 2 * a * y - 2 * b * xy + n * a * a + 2 * a * b * x + b * b * xx
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(np.maximum(squared.sum(-1), 0) / n.sum(-1)))


@dataclass(frozen=True)
class Fit:
    """A line y = intercept + slope x through runs, with its bootstrap over seeds (all eta of a seed together).

    `draws` arrays have shape (DRAWS,) and come from the same resamples for every fit on the same seeds, so that
    ratios and differences of fits are paired. `error` is the leave-one-eta-out root mean squared error.
    """

    slope: float
    intercept: float
    r2: float
    error: float
    slope_draws: Array
    r2_draws: Array
    error_draws: Array
    seeds: int
    runs: int

    def r2_estimate(self) -> Estimate:
        """R^2 with its interval."""
        return bootstrapped(self.r2, self.r2_draws, self.seeds, (0.0, 1.0))

    def slope_estimate(self) -> Estimate:
        """The slope with its interval."""
        return bootstrapped(self.slope, self.slope_draws, self.seeds)

    def ratio(self, other: Fit) -> Estimate:
        """self.slope / other.slope, paired by seed; unbounded when a resample gives `other` no positive slope."""
        value = self.slope / other.slope if other.slope > 0 else math.nan
        if self.seeds != other.seeds or self.seeds < 2:
            return Estimate(value, -math.inf, math.inf, min(self.seeds, other.seeds))
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = np.where(other.slope_draws > 0, self.slope_draws / other.slope_draws, np.nan)
        return bootstrapped(value, draws, self.seeds)

    def error_against(self, other: Fit) -> Estimate:
        """log(leave-one-eta-out error / the other's), paired by seed: below 0, this line predicts better."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value, draws = (
                np.log(mine) - np.log(theirs)
                for mine, theirs in ((self.error, other.error), (self.error_draws, other.error_draws))
            )
        return bootstrapped(float(value), np.asarray(draws), self.seeds)


def fit_line(x: Array, y: Array, seed: NDArray[np.generic], eta: NDArray[np.generic]) -> Fit:
    """The least-squares line of y on x over runs, and its bootstrap over seeds.

    Args:
        x, y: (R,) one point a run, finite.
        seed, eta: (R,) the seed and the noise rate of each run.

    >>> x = np.arange(12.0)
    >>> fit = fit_line(x, 2 * x + 1, np.arange(12) % 3, np.arange(12) // 3)
    >>> round(fit.slope, 6), round(fit.r2, 6), fit.seeds
    (2.0, 1.0, 3)
    """
    seeds, s = np.unique(seed, return_inverse=True)
    etas, e = np.unique(eta, return_inverse=True)
    unit_x, unit_y = float(np.std(x)) or 1.0, float(np.std(y)) or 1.0
    u, v = (x - np.mean(x)) / unit_x, (y - np.mean(y)) / unit_y  # O(1) numbers: sums of squares stay exact
    sums = np.zeros((len(seeds), len(etas), 6))
    np.add.at(sums, (s, e), np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1))
    slope, intercept, r2 = _line(sums.sum((0, 1)))
    drawn = np.tensordot(resamples(len(seeds)), sums, axes=1)  # (DRAWS, E, 6)
    slope_draws, _, r2_draws = _line(drawn.sum(1))
    scale = unit_y / unit_x
    return Fit(
        slope=float(slope) * scale,
        intercept=float(np.mean(y) + unit_y * intercept - slope * scale * np.mean(x)),
        r2=float(r2),
        error=float(_leave_one_eta_out(sums.sum(0))) * unit_y,
        slope_draws=slope_draws * scale,
        r2_draws=r2_draws,
        error_draws=_leave_one_eta_out(drawn) * unit_y,
        seeds=len(seeds),
        runs=len(x),
    )


def spearman(x: Array, y: Array, seed: NDArray[np.generic]) -> Estimate:
    """Spearman's rank correlation over runs, with its bootstrap over seeds (ties share their mid-rank)."""
    seeds, s = np.unique(seed, return_inverse=True)
    value = float(_weighted_spearman(x, y, np.ones((1, len(x))))[0])
    draws = _weighted_spearman(x, y, resamples(len(seeds))[:, s])
    return bootstrapped(value, draws, len(seeds), (-1.0, 1.0))


def _weighted_spearman(x: Array, y: Array, weights: Array) -> Array:
    """The rank correlation where run r counts weights[b, r] times: (B, R) -> (B,)."""
    a, b = _ranks(x, weights), _ranks(y, weights)
    total = weights.sum(1, keepdims=True)
    a = a - (weights * a).sum(1, keepdims=True) / total
    b = b - (weights * b).sum(1, keepdims=True) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((weights * a * a).sum(1) * (weights * b * b).sum(1))
        return np.asarray((weights * a * b).sum(1) / spread)


def _ranks(x: Array, weights: Array) -> Array:
    """Mid-ranks of x in each weighted sample: (R,), (B, R) -> (B, R)."""
    distinct, group = np.unique(x, return_inverse=True)
    member = (group[:, None] == np.arange(len(distinct))[None, :]).astype(np.float64)  # (R, G)
    held = weights @ member  # (B, G)
    return np.asarray((np.cumsum(held, axis=1) - held / 2)[:, group])
