"""Points (x, y) of runs, and their slopes, leave-one-eta-out errors and curve distances with one value per seed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from byrote.analysis.samples import NOTHING, Array, Sample, finite_points, leaving_out, numbered, sampled

__all__ = ["Points"]

_GRID = 21
_NO_SPREAD = "x does not vary enough to determine a line when any one seed is left out"
_NO_ERROR = "there are fewer than three eta, or an error is 0, with all seeds or with one left out"


@dataclass(frozen=True)
class Points:
    """Points (x, y) of the runs of one setting, as sums by seed and eta, so that leaving out a seed is one subtraction.

    `sums` is (S, E, 6): the sums of 1, u, v, uu, uv, vv, where u = (x - center) / unit, and v is the same for y. This
    scaling keeps all numbers near 1.
    """

    sums: Array = field(repr=False)
    seeds: tuple[Hashable, ...]
    etas: tuple[Hashable, ...]
    center: tuple[float, float]
    unit: tuple[float, float]

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike, seeds: Sequence[Hashable], etas: Sequence[Hashable]) -> Points:
        """Collect the points of runs; runs with an x or y that is not finite are left out.

        Args:
            x, y: (R,), one point per run.
            seeds, etas: (R,), the seed and the noise rate of each run.

        >>> points = Points.of([0, 1, 2, 3], [1, 3, 5, 7], [0, 0, 1, 1], [0.1, 0.2, 0.1, 0.2])
        >>> points.slope().values
        array([2., 2.])
        """
        known = np.isfinite(np.asarray(x, dtype=np.float64)) & np.isfinite(np.asarray(y, dtype=np.float64))
        a, b, order, at = finite_points(x, y, seeds)
        rates, of_eta = numbered([eta for eta, good in zip(etas, known, strict=True) if good])
        center = (float(a.mean()), float(b.mean())) if len(a) else (0.0, 0.0)
        unit = (float(a.std()) or 1.0, float(b.std()) or 1.0) if len(a) else (1.0, 1.0)
        u, v = (a - center[0]) / unit[0], (b - center[1]) / unit[1]
        sums = np.zeros((len(order), len(rates), 6))
        np.add.at(sums, (at, of_eta), np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1))
        return cls(sums, order, rates, center, unit)

    def slope(self) -> Sample:
        """The slope of the least-squares line of y on x over the runs of all seeds, in units of y over x."""
        return sampled(self._slopes(), self.seeds, "plain", _NO_SPREAD)

    def log_slope_ratio(self, other: Points) -> Sample:
        """log(slope / slope of the other points), over the seeds and eta that both have, paired by seed."""
        mine, theirs = self.shared_with(other)
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(mine._slopes()) - np.log(theirs._slopes())
        return sampled(logs, mine.seeds, "log", "a slope is not above 0 with all seeds or with one left out")

    def r_squared(self) -> Sample:
        """R^2 of the line. The interval covers the true value in only .5 to .9 of all cases, so no verdict uses R^2."""
        return sampled(self._r_squared(), self.seeds, "plain", "x or y does not vary")

    def log_left_out_error(self) -> Sample:
        """log of the leave-one-eta-out error: the root mean squared error, in units of y, of predicting the runs of
        each eta from the line through the runs of all other eta.
        """
        return sampled(self._log_errors(), self.seeds, "log", _NO_ERROR)

    def log_unexplained(self) -> Sample:
        """log(1 - R^2), where 1 - R^2 is the unexplained share of the variance of y; log .2 is an R^2 of .8."""
        return sampled(self._log_unexplained(), self.seeds, "log", "x or y does not vary, or the line is exact")

    def log_error_ratio(self, other: Points) -> Sample:
        """log(leave-one-eta-out error / error of the other points), over the seeds and eta that both have.

        A value below 0 means that the x of these points predicts better. Both must have the same reading as y.
        """
        mine, theirs = self.shared_with(other)
        return sampled(mine._log_errors() - theirs._log_errors(), mine.seeds, "log", _NO_ERROR)

    def log_distance(self, other: Points) -> Sample:
        """log of the relative distance between two curves, over the seeds that both have.

        A curve connects the mean points (x, y) of each eta. The distance is the root mean squared difference of the two
        curves over their common range of x, divided by their mean height in this range.
        """
        shared = [seed for seed in self.seeds if seed in other.seeds]
        mine, theirs = (one._of_seeds(shared) for one in (self, other))
        pairs = zip(mine._curves(), theirs._curves(), strict=True)
        with np.errstate(divide="ignore"):
            logs = np.log([_distance(first, second) for first, second in pairs])
        why = "the curves do not overlap in x, or coincide, with all seeds or with one left out"
        return sampled(logs, mine.seeds, "log", why)

    def shared_with(self, other: Points) -> tuple[Points, Points]:
        """Restrict both sets of points to common eta and to seeds with runs in both, in the same order."""
        etas = [eta for eta in self.etas if eta in other.etas]
        mine, theirs = self._of_etas(etas), other._of_etas(etas)
        with_runs = [set(np.array(one.seeds, dtype=object)[one.sums[..., 0].sum(1) > 0]) for one in (mine, theirs)]
        seeds = [seed for seed in self.seeds if seed in with_runs[0] & with_runs[1]]
        return mine._of_seeds(seeds), theirs._of_seeds(seeds)

    def _of_seeds(self, seeds: Sequence[Hashable]) -> Points:
        rows = [self.seeds.index(seed) for seed in seeds]
        return Points(self.sums[rows], tuple(seeds), self.etas, self.center, self.unit)

    def _of_etas(self, etas: Sequence[Hashable]) -> Points:
        columns = [self.etas.index(eta) for eta in etas]
        return Points(self.sums[:, columns], self.seeds, tuple(etas), self.center, self.unit)

    def _totals(self) -> Array:
        """The sums over all seeds, then without each seed, (n + 1, E, 6)."""
        return np.tensordot(leaving_out(len(self.seeds)), self.sums, axes=1)

    def _slopes(self) -> Array:
        return _fitted(self._totals().sum(1))[0] * (self.unit[1] / self.unit[0])

    def _r_squared(self) -> Array:
        n, u, v, uu, uv, vv = np.moveaxis(self._totals().sum(1), -1, 0)
        some = np.maximum(n, 1.0)
        var_x, var_y, both = uu - u * u / some, vv - v * v / some, uv - u * v / some
        known = (var_x > NOTHING * n) & (var_y > NOTHING * n)
        return np.where(known, both**2 / np.where(known, var_x * var_y, 1.0), np.nan)

    def _log_unexplained(self) -> Array:
        rest = 1 - self._r_squared()
        known = rest > NOTHING
        return np.where(known, np.log(np.where(known, rest, 1.0)), np.nan)

    def _log_errors(self) -> Array:
        """log of the leave-one-eta-out error over all seeds, then without each seed; NaN if it is 0 or undetermined."""
        totals = self._totals()
        slope, intercept = _fitted(totals.sum(1, keepdims=True) - totals)  # (n + 1, E): the line through the other eta
        n, u, v, uu, uv, vv = np.moveaxis(totals, -1, 0)
        b, a = (np.where(n > 0, part, 0.0) for part in (slope, intercept))  # an eta without runs needs no line
        squared = vv - 2 * a * v - 2 * b * uv + n * a * a + 2 * a * b * u + b * b * uu
        count = n.sum(1)
        mean = squared.sum(1) / np.maximum(count, 1.0)
        known = (mean > NOTHING**1.5) & (count > 0)
        return np.where(known, np.log(np.where(known, mean, 1.0)) / 2 + np.log(self.unit[1]), np.nan)

    def _curves(self) -> list[tuple[Array, Array]]:
        """The curve over all seeds, then the curve without each seed, each with ascending x."""
        curves = []
        for totals in self._totals():
            some = totals[totals[:, 0] > 0]
            x, y = (self.center[i] + self.unit[i] * some[:, i + 1] / some[:, 0] for i in (0, 1))
            order = np.argsort(x)
            curves.append((x[order], y[order]))
        return curves


def _fitted(sums: Array) -> tuple[Array, Array]:
    """Slope and intercept from the sums of (1, u, v, uu, uv, vv) on the last axis; NaN if u does not vary."""
    n, u, v, uu, uv, _ = np.moveaxis(sums, -1, 0)
    some = np.maximum(n, 1.0)
    spread = uu - u * u / some
    known = spread > NOTHING * n
    slope = np.where(known, (uv - u * v / some) / np.where(known, spread, 1.0), np.nan)
    return slope, (v - slope * u) / some


def _distance(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    if min(len(first[0]), len(second[0])) < 2:
        return float("nan")
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    grid = np.linspace(low, high, _GRID)
    a, b = np.interp(grid, *first), np.interp(grid, *second)
    height = float(np.mean(a + b)) / 2
    return float(np.sqrt(np.mean((a - b) ** 2))) / height if low < high and height > 0 else float("nan")
