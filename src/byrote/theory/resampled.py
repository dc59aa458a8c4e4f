"""Runs as arrays, and every statistic of them under all resamples of their seeds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from .parameters import Array

__all__ = ["Estimate", "Runs", "estimate"]

_DETERMINED = 0.99
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval over `seeds` seeds; NaN ends where one seed, or a solver too slow to repeat,
    gives none.
    """

    value: float
    low: float
    high: float
    seeds: int = 0

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))


def estimate(values: Array, seeds: int, log: bool = False) -> Estimate:
    """The first value is the data's own, the rest are bootstrap draws over `seeds` seeds.

    value +- t_{n-1} sqrt(n/(n-1)) sd(draws): of a mean this is Student's interval, where percentiles of the draws
    are too narrow for few seeds. `log`: of the logarithm. No interval where more than one draw in a hundred does
    not determine the value.

    >>> estimate(np.array([2.0, 1.0, 3.0] * 40), 3).low < 1
    True
    """
    value, draws = float(values[0]), np.asarray(values[1:], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws, centre = (np.log(draws), float(np.log(value))) if log else (draws, value)
    known = np.isfinite(draws)
    if seeds < 2 or not np.isfinite(centre) or not len(draws) or known.mean() < _DETERMINED:
        return Estimate(value, np.nan, np.nan, seeds)
    half = float(stdtrit(seeds - 1, 0.975)) * np.sqrt(seeds / (seeds - 1)) * float(np.std(draws[known]))
    low, high = centre - half, centre + half
    return Estimate(value, np.exp(low), np.exp(high), seeds) if log else Estimate(value, low, high, seeds)


@dataclass(frozen=True)
class Runs:
    """One entry a run in each array. Statistics take weights (B, R), how often each run counts, and give (B,)."""

    loss: NDArray[np.str_]
    eta: Array
    memorization: Array
    dilation: Array
    distance: Array
    seed: NDArray[np.int64]

    @classmethod
    def of(
        cls, loss: Sequence[str], eta: ArrayLike, memorization: ArrayLike, nc1: ArrayLike, distance: ArrayLike,
        seed: ArrayLike, share: float,
    ) -> Runs:  # fmt: skip
        """Runs whose readings are all finite; dilation r/D off NC1 = 2 share (r/D)^2."""
        names, seeds = np.asarray(list(loss), dtype=np.str_), np.asarray(seed, dtype=np.int64)
        columns = [np.asarray(column, dtype=np.float64) for column in (eta, memorization, nc1, distance)]
        if any(column.shape != names.shape for column in (*columns, seeds)):
            raise ValueError("loss, eta, memorization, nc1, distance and seed must have one entry a run each")
        good = np.all([np.isfinite(column) for column in columns], axis=0) & (columns[2] >= 0)
        spread = np.sqrt(columns[2][good] / (2 * share))
        return cls(names[good], columns[0][good], columns[1][good], spread, columns[3][good], seeds[good])

    def of_loss(self, name: str) -> Mask:
        """Which runs are of one loss."""
        return np.asarray(self.loss == name)

    def shared_seeds(self, *names: str) -> NDArray[np.int64]:
        """The seeds that every named loss was run with."""
        each = [set(self.seed[self.of_loss(name)].tolist()) for name in names]
        return np.array(sorted(set.intersection(*each)), dtype=np.int64)

    def alike(self, first: str, second: str) -> tuple[Mask, Mask]:
        """The runs of two losses on the eta and the seeds that both have."""
        both = [self.of_loss(first), self.of_loss(second)]
        for fact in (self.eta, self.seed):
            shared = np.intersect1d(fact[both[0]], fact[both[1]])
            both = [mask & np.isin(fact, shared) for mask in both]
        return both[0], both[1]

    def weights(self, seeds: NDArray[np.int64], resamples: int) -> Array:
        """Every run once, then `resamples` draws of the seeds, all eta and losses of a seed together; (B, R)."""
        once = np.ones((1, len(self.seed)))
        if len(seeds) < 2:
            return once
        drawn = np.random.default_rng(len(seeds)).multinomial(
            len(seeds), np.full(len(seeds), 1 / len(seeds)), resamples
        )
        member = seeds[:, None] == self.seed[None, :]  # (S, R)
        return np.concatenate([once, drawn @ member.astype(np.float64)])

    def line(self, weights: Array, mine: Mask) -> tuple[Array, Array, Array]:
        """Slope, floor and R^2 of dilation against memorization; NaN where fewer than two x are drawn."""
        w, x, y = weights[:, mine], self.memorization[mine], self.dilation[mine]
        if len(x) < 3 or np.ptp(x) == 0:
            return (np.full(len(weights), np.nan),) * 3
        x0, y0 = float(x.mean()), float(y.mean())
        u, v = x - x0, y - y0
        with np.errstate(invalid="ignore", divide="ignore"):
            total = w.sum(axis=1)
            mu, mv = w @ u / total, w @ v / total
            uu, uv, vv = w @ (u * u) / total - mu**2, w @ (u * v) / total - mu * mv, w @ (v * v) / total - mv**2
            slope = np.where(uu > 1e-12 * float(u @ u), uv / uu, np.nan)
            return slope, y0 + mv - slope * (x0 + mu), np.where(vv > 0, slope * uv / vv, np.nan)

    def mean(self, weights: Array, mine: Mask, values: Array) -> Array:
        """Mean of some runs' values; NaN where none is drawn."""
        w = weights[:, mine]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(w @ values[mine] / w.sum(axis=1))

    def distances(self, weights: Array, first: str, second: str) -> tuple[Array, Array]:
        """Mean D of two losses at the smallest eta they share, where memorization disturbs the class means least."""
        both = self.alike(first, second)
        least = self.eta[both[0]].min() if both[0].any() else np.nan
        a, b = (self.mean(weights, mask & (self.eta == least), self.distance) for mask in both)
        return a, b
