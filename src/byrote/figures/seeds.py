"""Runs that differ in the seed only, as one mean with its 95% interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from byrote.table import Table

__all__ = ["Line", "Spread", "fit_line", "over_seeds", "spread", "thinned"]


@dataclass(frozen=True)
class Spread:
    """Mean of `n` finite values and the ends of its 95% interval (NaN for fewer than two)."""

    mean: float
    low: float
    high: float
    n: int


def spread(values: ArrayLike) -> Spread:
    """Mean and 95% Student interval, mean +- t_{.975, n-1} s / sqrt(n), of the finite values.

    >>> spread([1.0, 2.0, 3.0, float("nan")])
    Spread(mean=2.0, low=-0.48..., high=4.48..., n=3)
    >>> spread([0.5]).low
    nan
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if n == 0:
        return Spread(np.nan, np.nan, np.nan, 0)
    mean = float(finite.mean())
    if n == 1:
        return Spread(mean, np.nan, np.nan, 1)
    half = float(stdtrit(n - 1, 0.975) * finite.std(ddof=1) / np.sqrt(n))
    return Spread(mean, mean - half, mean + half, n)


def over_seeds(
    table: Table, by: tuple[str, ...], columns: tuple[str, ...], within: tuple[float, float] | None = None
) -> list[dict[str, Any]]:
    """One row a combination of `by`: the mean of each column, its interval, and the number of runs.

    Args:
        table: rows of which each run has one in every combination.
        by: what is held fixed, such as ("loss", "rate", "epoch").
        columns: what is averaged; each gives NAME, NAME_low, NAME_high and NAME_n, None where there is none.
        within: the range an interval is cut to: (0, 1) for shares.
    """
    rows: list[dict[str, Any]] = []
    for values, group in table.groups(*by):
        row: dict[str, Any] = {name: _plain(value) for name, value in zip(by, values, strict=True)}
        for column in columns:
            found = spread(group[column])
            low, high = found.low, found.high
            if within is not None:
                low, high = max(low, within[0]), min(high, within[1])
            # without an interval both ends stand on the mean, so that a band closes there
            ends = (low, high) if found.n > 1 else (found.mean, found.mean)
            row |= {
                column: _finite(found.mean),
                f"{column}_low": _finite(ends[0]),
                f"{column}_high": _finite(ends[1]),
                f"{column}_n": found.n,
            }
        rows.append(row)
    return rows


def thinned(table: Table, most: int = 50) -> Table:
    """The rows of at most `most` epochs, evenly chosen among those measured; the first and the last stay."""
    epochs = np.unique(table["epoch"])
    if len(epochs) <= most:
        return table
    kept = epochs[np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))]
    return table.where(np.isin(table["epoch"], kept))


@dataclass(frozen=True)
class Line:
    """A least-squares line y = intercept + slope x over n points, and its share of explained variance."""

    slope: float
    intercept: float
    r2: float
    n: int

    def at(self, x: float) -> float:
        return self.intercept + self.slope * x


def fit_line(x: ArrayLike, y: ArrayLike) -> Line | None:
    """Least squares over the points where both are finite; None for fewer than three or a single x.

    >>> line = fit_line([0, 1, 2], [1, 3, 5])
    >>> round(line.slope, 6), round(line.intercept, 6), round(line.r2, 6)
    (2.0, 1.0, 1.0)
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    both = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[both], ys[both]
    if len(xs) < 3 or np.ptp(xs) == 0:
        return None
    dx, dy = xs - xs.mean(), ys - ys.mean()
    slope = float(dx @ dy / (dx @ dx))
    rest = float(((dy - slope * dx) ** 2).sum())
    total = float(dy @ dy)
    return Line(slope, float(ys.mean() - slope * xs.mean()), 1 - rest / total if total > 0 else 1.0, len(xs))


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
