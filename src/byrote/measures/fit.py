"""The memorization-dilation regression: NC1 and its square root on mem, with intervals. numpy only, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["Dilation", "Estimate", "LineFit", "fit_dilation", "fit_line", "slope_ratio"]

Numbers = Sequence[float] | NDArray[np.float64]
Keys = Sequence[object] | NDArray[np.generic]
_NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN bounds when the data cannot give one."""

    value: float
    low: float
    high: float
    method: str  # "t over runs", or "bootstrap over SEEDS seeds"


@dataclass(frozen=True)
class LineFit:
    """y = intercept + slope x by least squares."""

    slope: Estimate
    intercept: Estimate
    r_squared: float  # share of the variance of y explained
    left_out_r_squared: float  # the same with each group predicted from the others; NaN without groups
    left_out_error: float  # root mean square error of those predictions, in units of y
    count: int  # runs used
    dropped: int  # runs left out because x or y is NaN (collapsed, or none corrupted)


@dataclass(frozen=True)
class Dilation:
    """NC1 on mem, straight (MD Fig. 1) and by its square root (MD's model), and which predicts left-out runs better."""

    straight: LineFit  # NC1 = a + b mem
    root: LineFit  # sqrt(NC1) = a + b mem
    straight_error: float  # root mean square error of left-out NC1, line through NC1
    root_error: float  # the same, squared prediction of the line through sqrt(NC1)
    better: str  # "straight", "root" or "undecided" (no left-out error)


def fit_line(
    x: Numbers,
    y: Numbers,
    *,
    seeds: Keys | None = None,
    groups: Keys | None = None,
    confidence: float = 0.95,
    draws: int = 2000,
) -> LineFit:
    """Least-squares line through runs, with intervals, and its error on groups it has not seen.

    Formula: slope = cov(x, y) / var(x). Left-out R^2 = 1 - sum (y - yhat)^2 / sum (y - ymean)^2, yhat of a group (say
    a noise rate) from the line through the other groups; it is negative when a constant would do better. R^2 alone is
    nearly automatic where both axes grow with the noise rate.

    Args:
        x, y: (n,) numbers; runs with a NaN in either are dropped and counted.
        seeds: (n,) keys. With two or more, intervals come from a bootstrap over seeds (t times the standard deviation
            of the draws): all runs of a seed are drawn together, as they share their noise and initial weights.
            Otherwise t intervals over runs.
        groups: (n,) keys, for the left-out error; needs two or more.
        confidence: in (0, 1). draws: bootstrap samples (their generator is fixed: equal data, equal interval).

    Returns: a `LineFit`; NaN where the runs left do not determine a line (fewer than two different x).

    >>> fit = fit_line([1, 2, 3, 4], [3, 5, 7, 9], groups=["a", "a", "b", "b"])
    >>> round(fit.slope.value, 9), round(fit.intercept.value, 9), round(fit.r_squared, 9), fit.slope.method
    (2.0, 1.0, 1.0, 't over runs')
    """
    data = _Runs.of(x, y, seeds, groups)
    slope, intercept = _line(data.x, data.y)
    residual = data.y - intercept - slope * data.x
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if data.num_seeds < 2:
        method, margins = "t over runs", _t_margins(data.x, residual, confidence)
    else:
        method, margins = f"bootstrap over {data.num_seeds} seeds", _seed_margins(data, confidence, draws)
    predicted = _left_out(data)
    return LineFit(
        slope=Estimate(slope, slope - float(margins[0]), slope + float(margins[0]), method),
        intercept=Estimate(intercept, intercept - float(margins[1]), intercept + float(margins[1]), method),
        r_squared=_explained(data.y, data.y - residual),
        left_out_r_squared=_explained(data.y, predicted),
        left_out_error=_rms(data.y - predicted),
        count=len(data.x),
        dropped=data.dropped,
    )


def fit_dilation(
    mem: Numbers,
    nc1: Numbers,
    *,
    seeds: Keys | None = None,
    groups: Keys | None = None,
    confidence: float = 0.95,
    draws: int = 2000,
) -> Dilation:
    """Is the dilation linear in mem, or is its square root?

    Claim: MD's Fig. 1 plots NC1, a ratio of variances, against mem and calls it linear; its model makes the ratio of
    standard deviations linear, hence NC1 quadratic. Both are fitted; the better one has the smaller left-out error,
    measured on NC1 for both (predictions of the root squared, below 0 taken as 0). Without groups each run is one.

    Arguments as for `fit_line`; negative NC1 raises ValueError.

    >>> mem = [0.1, 0.2, 0.3, 0.4]
    >>> fit_dilation(mem, [(0.1 + m) ** 2 for m in mem]).better
    'root'
    """
    nc1 = np.asarray(nc1, dtype=np.float64)
    if (nc1 < 0).any():
        raise ValueError(f"NC1 must not be negative, got {np.nanmin(nc1)}")
    groups = np.arange(len(nc1)) if groups is None else groups
    root_nc1 = np.sqrt(nc1)
    straight = fit_line(mem, nc1, seeds=seeds, groups=groups, confidence=confidence, draws=draws)
    root = fit_line(mem, root_nc1, seeds=seeds, groups=groups, confidence=confidence, draws=draws)
    data = _Runs.of(mem, root_nc1, seeds, groups)
    root_error = _rms(data.y**2 - np.maximum(_left_out(data), 0.0) ** 2)
    better = "straight" if straight.left_out_error < root_error else "root"
    if np.isnan(straight.left_out_error) or np.isnan(root_error):
        better = "undecided"
    return Dilation(straight, root, straight.left_out_error, root_error, better)


def slope_ratio(
    above: tuple[Numbers, Numbers, Keys],
    below: tuple[Numbers, Numbers, Keys],
    *,
    confidence: float = 0.95,
    draws: int = 2000,
) -> Estimate:
    """Slope of one set of runs over that of another, say label smoothing over cross-entropy (claim A4).

    Args: `above` and `below`, each (x, y, seeds). The interval comes from a bootstrap over seeds; a seed that both
        sets hold is drawn for both at once, so what the seeds share cancels. NaN runs are dropped.

    Returns: an `Estimate`; NaN bounds with fewer than two seeds in common, or when over 5% of the draws determine no
        line.

    >>> ratio = slope_ratio(([1, 2, 1, 2], [2, 4, 2, 4], [0, 0, 1, 1]), ([1, 2, 1, 2], [1, 2, 1, 2], [0, 0, 1, 1]))
    >>> ratio.value, ratio.low, ratio.high
    (2.0, 2.0, 2.0)
    """
    first, second = (_Runs.of(x, y, seeds, None) for x, y, seeds in (above, below))
    value = _line(first.x, first.y)[0] / _nonzero(_line(second.x, second.y)[0])
    common = sorted(set(first.seeds.tolist()) & set(second.seeds.tolist()), key=str)
    method = f"bootstrap over {len(common)} seeds"
    if len(common) < 2:
        return Estimate(value, _NAN, _NAN, method)
    ratios = []
    for drawn in _draw(len(common), draws):
        chosen = [common[k] for k in drawn]
        slopes = [_line(*runs.rows(chosen))[0] for runs in (first, second)]
        ratios.append(slopes[0] / _nonzero(slopes[1]))
    margin = float(_margins(np.array(ratios), len(common), confidence))
    return Estimate(value, value - margin, value + margin, method)


@dataclass(frozen=True)
class _Runs:
    """The runs that have both numbers."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    seeds: NDArray[np.generic]
    groups: NDArray[np.generic] | None
    num_seeds: int
    dropped: int

    @classmethod
    def of(cls, x: Numbers, y: Numbers, seeds: Keys | None, groups: Keys | None) -> _Runs:
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        columns = [np.asarray(keys) for keys in (seeds, groups) if keys is not None]
        if x.ndim != 1 or any(column.shape != x.shape for column in (y, *columns)):
            raise ValueError(
                f"x, y, seeds and groups of one length are needed, got {[len(c) for c in (x, y, *columns)]}"
            )
        keep = np.isfinite(x) & np.isfinite(y)
        seed_of = np.asarray(seeds)[keep] if seeds is not None else np.zeros(int(keep.sum()))
        group_of = np.asarray(groups)[keep] if groups is not None else None
        return cls(x[keep], y[keep], seed_of, group_of, len(np.unique(seed_of)), int((~keep).sum()))

    def rows(self, seeds: Sequence[object]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The runs of these seeds, a seed that occurs twice counted twice."""
        rows = np.concatenate([np.flatnonzero(self.seeds == seed) for seed in seeds])
        return self.x[rows], self.y[rows]


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept; NaN with fewer than two different x."""
    if len(x) < 2 or np.ptp(x) <= 1e-12 * np.abs(x).max():
        return _NAN, _NAN
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _seed_margins(data: _Runs, confidence: float, draws: int) -> NDArray[np.float64]:
    """Half-widths of the intervals of (slope, intercept) over seeds."""
    seeds = np.unique(data.seeds)
    fits = np.array([_line(*data.rows(list(seeds[drawn]))) for drawn in _draw(len(seeds), draws)])
    return _margins(fits, len(seeds), confidence)


def _draw(size: int, draws: int) -> NDArray[np.int64]:
    """Bootstrap draws of 0..size-1, (draws, size), from a fixed generator."""
    return np.random.default_rng(0).integers(size, size=(draws, size))


def _margins(values: NDArray[np.float64], seeds: int, confidence: float) -> NDArray[np.float64]:
    """Half-widths t(n-1) sqrt(n/(n-1)) sd over the draws (first axis) that gave a value; NaN when over 5% gave none.

    Of a mean over seeds this is exactly Student's interval; percentiles of the draws are too narrow for few seeds.
    """
    if np.isnan(values).mean() > 0.05:
        return np.full(values.shape[1:], _NAN)
    quantile = float(stdtrit(seeds - 1, 0.5 + confidence / 2))
    return np.asarray(quantile * np.sqrt(seeds / (seeds - 1)) * np.nanstd(values, axis=0), dtype=np.float64)


def _t_margins(x: NDArray[np.float64], residual: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Half-widths of the t intervals of slope and intercept; NaN with fewer than three runs, or without a line."""
    free = len(x) - 2
    if free < 1 or np.isnan(residual).any():
        return np.array([_NAN, _NAN])
    squares = np.square(x - x.mean()).sum()
    error = np.sqrt(residual @ residual / free)
    quantile = float(stdtrit(free, 0.5 + confidence / 2))
    spread = np.array([1 / np.sqrt(squares), np.sqrt(1 / len(x) + x.mean() ** 2 / squares)])
    return np.asarray(quantile * error * spread, dtype=np.float64)


def _left_out(data: _Runs) -> NDArray[np.float64]:
    """Each run's y from the line through the other groups; NaN without groups."""
    predicted = np.full(len(data.x), _NAN)
    if data.groups is None:
        return predicted
    for group in np.unique(data.groups):
        out = data.groups == group
        slope, intercept = _line(data.x[~out], data.y[~out])
        predicted[out] = intercept + slope * data.x[out]
    return predicted


def _explained(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    total = np.square(y - y.mean()).sum() if len(y) else 0.0
    return float(1 - np.square(y - predicted).sum() / total) if total > 0 else _NAN


def _rms(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(errors).mean())) if len(errors) else _NAN


def _nonzero(value: float) -> float:
    return value if value != 0 else _NAN
