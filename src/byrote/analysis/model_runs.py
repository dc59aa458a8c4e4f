"""The runs to which the two-class model is fitted, and its parameters from all runs and without each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from byrote.analysis.points import Points
from byrote.analysis.samples import Array, Sample, Scale, leaving_out, sampled
from byrote.theory.penalties import penalties

__all__ = ["Parameters", "Runs", "Seeds", "parameters"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Seeds:
    """The n seeds of a statistic, and the weight of each run in the n + 2 values of the statistic.

    The first value uses every run, the second uses the runs of these seeds, and each of the other n leaves out one of
    these seeds. The first two are equal if no other seed was run.
    """

    seeds: tuple[int, ...]
    weights: Array  # (n + 2, R)

    def sample(self, readings: Array, scale: Scale = "plain", why: str = "") -> Sample:
        """Turn (n + 2) values on `scale` into pseudo-values; `whole` is the value from every run."""
        return replace(sampled(readings[1:], self.seeds, scale, why), whole=float(readings[0]))

    def mean(self, mine: Mask, values: Array) -> Array:
        """The weighted mean over the selected runs, (n + 2,); NaN where none of these runs has a weight."""
        w = self.weights[:, mine]
        count = w.sum(axis=1)
        return np.where(count > 0, w @ values[mine] / np.where(count > 0, count, 1.0), np.nan)


@dataclass(frozen=True)
class Runs:
    """The readings of runs: one entry per run in each array, all finite."""

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
        """Select the runs with finite readings and D above 0, and compute the dilation r/D from NC1 = 2 share (r/D)^2.

        Raises:
            ValueError: arrays of different lengths.
        """
        names, seeds = np.asarray(list(loss), dtype=np.str_), np.asarray(seed, dtype=np.int64)
        columns = [np.asarray(column, dtype=np.float64) for column in (eta, memorization, nc1, distance)]
        if any(column.shape != names.shape for column in (*columns, seeds)):
            raise ValueError("loss, eta, memorization, nc1, distance and seed must have one entry per run each")
        good = np.all([np.isfinite(column) for column in columns], axis=0) & (columns[2] >= 0) & (columns[3] > 0)
        spread = np.sqrt(columns[2][good] / (2 * share))
        return cls(names[good], columns[0][good], columns[1][good], spread, columns[3][good], seeds[good])

    def of_loss(self, name: str) -> Mask:
        """Mask of the runs with this loss."""
        return np.asarray(self.loss == name)

    def points(self, name: str) -> Points:
        """The points (memorization, dilation) of the runs of one loss."""
        mine = self.of_loss(name)
        x, y, seeds, etas = (part[mine] for part in (self.memorization, self.dilation, self.seed, self.eta))
        return Points.of(x, y, seeds.tolist(), etas.tolist())

    def shared_seeds(self, *groups: Mask) -> tuple[int, ...]:
        """The seeds that have a run in every group."""
        each = [set(self.seed[mask].tolist()) for mask in groups]
        return tuple(sorted(set.intersection(*each)))

    def seeds(self, seeds: tuple[int, ...]) -> Seeds:
        """These seeds, with the weights of the runs in each of the n + 2 values."""
        member = np.array(seeds, dtype=np.int64)[:, None] == self.seed[None, :]  # (n, R)
        return Seeds(seeds, np.concatenate([np.ones((1, len(self.seed))), leaving_out(len(seeds)) @ member]))

    def distances(self, at: Seeds, first: str, second: str) -> tuple[Array, Array]:
        """Mean D of two losses at the smallest common eta, where memorization changes the class means least.

        Each mean is (n + 2,), over the seeds that both losses have at this eta.
        """
        both = [self.of_loss(first), self.of_loss(second)]
        for fact in (self.eta, self.seed):
            shared = np.intersect1d(fact[both[0]], fact[both[1]])
            both = [mask & np.isin(fact, shared) for mask in both]
        least = self.eta[both[0]].min() if both[0].any() else np.nan
        a, b = (at.mean(mask & (self.eta == least), self.distance) for mask in both)
        return a, b


@dataclass(frozen=True)
class Parameters:
    """The model's parameters for all runs and without each seed of `at`, (n + 2,); NaN if the runs do not suffice."""

    at: Seeds
    slope: Array  # C_MD
    floor: Array  # dilation without memorization
    distance: Array  # D of the reference
    gamma: Array  # D of the reference over D of the partner
    lambda_w: Array
    lambda_h: Array


def parameters(runs: Runs, at: Seeds, reference: str, partner: str, alpha: float, num_classes: int) -> Parameters:
    """Compute C_MD and the floor from the line of the reference loss, and the penalties from D under both losses.

    Args:
        runs: all runs.
        at: the seeds; each is left out in turn.
        reference, partner: names of the two losses.
        alpha: the smoothing of the partner.
        num_classes: N.
    """
    slope, floor = _line(at.weights, runs, runs.of_loss(reference))
    first, second = runs.distances(at, reference, partner)
    lambda_w, lambda_h = penalties(first, second, alpha, num_classes)
    c_md = np.where(slope > 0, 1 / np.where(slope > 0, slope, 1.0), np.nan)
    return Parameters(at, c_md, floor, first, first / second, lambda_w, lambda_h)


def _line(weights: Array, runs: Runs, mine: Mask) -> tuple[Array, Array]:
    """Slope and floor of dilation against memorization, (n + 2,) each; NaN where memorization does not vary."""
    w, x, y = weights[:, mine], runs.memorization[mine], runs.dilation[mine]
    if len(x) < 3 or np.ptp(x) == 0:
        return (np.full(len(weights), np.nan),) * 2
    x0, y0 = float(x.mean()), float(y.mean())
    u, v = x - x0, y - y0
    total = np.maximum(w.sum(axis=1), 1.0)
    mu, mv = w @ u / total, w @ v / total
    spread = w @ (u * u) / total - mu**2
    known = spread > 1e-12 * float(u @ u)
    slope = np.where(known, (w @ (u * v) / total - mu * mv) / np.where(known, spread, 1.0), np.nan)
    return slope, y0 + mv - slope * (x0 + mu)
