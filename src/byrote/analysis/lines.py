"""Regress dilation on memorization, on arrays: NC1 and its square root against mem, with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from byrote.analysis.check import shown
from byrote.analysis.points import Points
from byrote.analysis.samples import Array, Estimate, Sample

__all__ = ["DilationFit", "LineFit", "fit_dilation", "fit_line", "printed", "slope_ratio"]

_NAN = float("nan")


@dataclass(frozen=True)
class LineFit:
    """y = intercept + slope x by least squares."""

    slope: float  # NaN where the runs do not determine a line
    intercept: float
    over_seeds: Sample  # the slope as one pseudo-value per seed; `over_seeds.estimate()` has the interval
    r_squared: float  # the share of the variance of y that the line explains
    left_out_r_squared: float  # the same, with each group predicted from the other groups; NaN without groups
    left_out_error: float  # root mean square error of predicting each group from the others, in units of y
    count: int  # runs used
    dropped: int  # number of runs left out because x or y is NaN (collapsed run, or no corrupted sample)


@dataclass(frozen=True)
class DilationFit:
    """NC1 as a line in mem (MD Fig. 1), sqrt(NC1) as a line in mem (MD's model), and which predicts better."""

    straight: LineFit  # NC1 = a + b mem
    root: LineFit  # sqrt(NC1) = a + b mem
    straight_error: float  # root mean square error for the NC1 of left-out groups, from the line through NC1
    root_error: float  # the same, from the squared predictions of the line through sqrt(NC1)
    better: str  # "straight", "root", or "undecided" without a left-out error


def printed(sample: Sample, confidence: float = 0.95) -> Estimate:
    """A sample's estimate as it is printed: a ratio for logs, a correlation for atanhs.

    Without an interval, this is the value of all runs at once, with infinite ends.

    >>> printed(Sample(np.log([2.0, 2.0]), (0, 1), "log", float(np.log(2.0)))).value
    2.0
    """
    one = sample.estimate(confidence)
    known = len(sample.values) > 1 and math.isfinite(one.value)
    ends = (one.value, one.low, one.high) if known else (sample.whole, -math.inf, math.inf)
    value, low, high = (shown(number, sample.scale) for number in ends)
    return Estimate(value, low, high, one.n)


def fit_line(
    x: ArrayLike,
    y: ArrayLike,
    *,
    seeds: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> LineFit:
    """Least-squares line through runs, the slope's interval over seeds, and its error on left-out groups.

    Formula: slope = cov(x, y) / var(x). Left-out R^2 = 1 - sum (y - yhat)^2 / sum (y - ymean)^2, where yhat of a group
    (such as a noise rate) comes from the line through the other groups. Left-out R^2 is negative if a constant would
    predict better. An ordinary R^2 is nearly always high if both axes grow with the noise rate.

    Args:
        x, y: (n,) numbers; runs with a NaN in either are dropped and counted.
        seeds: (n,) keys. All runs of a seed share their noise and initial weights, so the jackknife leaves them out
            together. Without seeds, each run is treated as its own seed.
        groups: (n,) keys for the left-out error; at least three groups are needed.

    Returns: a `LineFit`; NaN if the remaining runs do not determine a line (fewer than two different x).

    Raises:
        ValueError: arrays of different lengths.

    >>> fit = fit_line([1, 2, 3, 4], [3, 5, 7, 9], seeds=[0, 0, 1, 1])
    >>> fit.slope, fit.intercept, fit.r_squared, fit.over_seeds.estimate().n
    (2.0, 1.0, 1.0, 2)
    """
    points, a, b, keys = _points(x, y, seeds, groups)
    slope, intercept = _line(a, b)
    predicted = _left_out(a, b, keys)
    total = len(np.asarray(x))
    return LineFit(
        slope=slope,
        intercept=intercept,
        over_seeds=points.slope(),
        r_squared=_explained(b, intercept + slope * a),
        left_out_r_squared=_explained(b, predicted),
        left_out_error=_rms(b - predicted),
        count=len(a),
        dropped=total - len(a),
    )


def fit_dilation(
    mem: ArrayLike,
    nc1: ArrayLike,
    *,
    seeds: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> DilationFit:
    """Decide whether NC1 or its square root is linear in mem.

    Claim: MD's Fig. 1 plots NC1, a ratio of variances, against mem and calls the relation linear. In MD's model the
    ratio of standard deviations is linear in mem, so NC1 is quadratic. Both are fitted; the better fit has the smaller
    left-out error. The error is measured on NC1 for both fits: predictions of the root are squared, and negative
    predictions become 0.

    Args:
        mem: (n,) memorization, one number per run.
        nc1: (n,) NC1 on test data, at least 0.
        seeds: (n,) as for `fit_line`.
        groups: (n,) keys such as noise rates; without them each run is a group.

    Raises:
        ValueError: a negative NC1, or arrays of different lengths.

    >>> mem = [0.1, 0.2, 0.3, 0.4]
    >>> fit_dilation(mem, [(0.1 + m) ** 2 for m in mem]).better
    'root'
    """
    numbers = np.asarray(nc1, dtype=np.float64)
    if (numbers < 0).any():
        raise ValueError(f"NC1 must not be negative, got {np.nanmin(numbers)}")
    keys: Sequence[Hashable] = range(len(numbers)) if groups is None else groups
    straight = fit_line(mem, numbers, seeds=seeds, groups=keys)
    root = fit_line(mem, np.sqrt(numbers), seeds=seeds, groups=keys)
    _, a, b, own = _points(mem, np.sqrt(numbers), seeds, keys)
    root_error = _rms(b**2 - np.maximum(_left_out(a, b, own), 0.0) ** 2)
    better = "straight" if straight.left_out_error < root_error else "root"
    if math.isnan(straight.left_out_error) or math.isnan(root_error):
        better = "undecided"
    return DilationFit(straight, root, straight.left_out_error, root_error, better)


def slope_ratio(
    above: tuple[ArrayLike, ArrayLike, Sequence[Hashable]],
    below: tuple[ArrayLike, ArrayLike, Sequence[Hashable]],
    *,
    confidence: float = 0.95,
) -> Estimate:
    """The slope of one set of runs divided by the slope of another, such as label smoothing / cross-entropy (claim A4).

    Why: the logarithm of the ratio has one pseudo-value for each seed in both sets, so that common effects of a seed
    cancel. Runs of seeds that are in only one set are left out.

    Args:
        above: (x, y, seeds) of the runs whose slope is the numerator, each (n,).
        below: (x, y, seeds) of the runs whose slope is the denominator.
        confidence: in (0, 1).

    Returns: the ratio with its interval; NaN if a slope is not above 0, with all seeds or with one left out.

    Raises:
        ValueError: arrays of different lengths.

    >>> ratio = slope_ratio(([1, 2, 1, 2], [2, 4, 2, 4], [0, 0, 1, 1]), ([1, 2, 1, 2], [1, 2, 1, 2], [0, 0, 1, 1]))
    >>> round(ratio.value, 9), round(ratio.low, 9), round(ratio.high, 9)
    (2.0, 2.0, 2.0)
    """
    first, second = (Points.of(x, y, seeds, np.zeros(len(seeds)).tolist()) for x, y, seeds in (above, below))
    return printed(first.log_slope_ratio(second), confidence)


def _points(
    x: ArrayLike, y: ArrayLike, seeds: Sequence[Hashable] | None, groups: Sequence[Hashable] | None
) -> tuple[Points, Array, Array, list[Hashable] | None]:
    """Select the runs with finite x and y; return them as points by seed and as arrays, with their groups."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    lengths = [len(column) for column in (a, b, seeds, groups) if column is not None]
    if a.ndim != 1 or len(set(lengths)) > 1:
        raise ValueError(f"x, y, seeds and groups must have the same length, got {lengths}")
    known = np.isfinite(a) & np.isfinite(b)
    units: Sequence[Hashable] = range(len(a)) if seeds is None else seeds
    points = Points.of(a, b, units, [0] * len(a))
    groups_known = None if groups is None else [key for key, good in zip(groups, known, strict=True) if good]
    return points, a[known], b[known], groups_known


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Slope and intercept; NaN with fewer than two different x."""
    if len(x) < 2 or np.ptp(x) <= 1e-12 * np.abs(x).max():
        return _NAN, _NAN
    centered = x - x.mean()
    slope = float(centered @ (y - y.mean()) / (centered @ centered))
    return slope, float(y.mean() - slope * x.mean())


def _left_out(x: Array, y: Array, groups: list[Hashable] | None) -> Array:
    """The prediction of each run's y from the line through the other groups; NaN without groups."""
    predicted = np.full(len(x), _NAN)
    for group in dict.fromkeys(groups or ()):
        out = np.array([key == group for key in groups or ()], dtype=bool)
        slope, intercept = _line(x[~out], y[~out])
        predicted[out] = intercept + slope * x[out]
    return predicted


def _explained(y: Array, predicted: Array) -> float:
    total = np.square(y - y.mean()).sum() if len(y) else 0.0
    return float(1 - np.square(y - predicted).sum() / total) if total > 0 else _NAN


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.square(errors).mean())) if len(errors) else _NAN
