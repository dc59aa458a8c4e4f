"""From measured runs to the model's parameters, and from those to predictions that can fail (claim C3).

Everything comes as plain arrays, one entry a run. The measured dilation is read off NC1: NC1 = 2 s (r/D)^2,
s the share of the variance that the law puts along the differences of class means (1 - 1/N for circle and
disc, 1 for two-point and segment).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar

from .dilation import dilation
from .geometry import class_geometry
from .logit_losses import Kind, LogitLoss
from .multiclass import multiclass_dilation
from .parameters import Array
from .variants import squared_dilation

__all__ = ["Estimate", "Fit", "Models", "Penalties", "Prediction", "SlopeRatio", "fit_runs", "penalties_from_distances"]

Models: TypeAlias = Mapping[str, tuple[Kind, float]]  # a loss's name in the data: its kind and alpha in the model


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% bootstrap interval over seeds; NaN ends where one seed, or a solver too slow to
    repeat, gives none.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Penalties:
    """The lambdas at which the model has the measured distances, in the model's (summed) convention."""

    lambda_w: float
    lambda_h: float


@dataclass(frozen=True)
class SlopeRatio:
    """Measured over predicted slope of dilation against memorization for one loss; the reference loss set
    the prediction.

    variant: raw (the slope 1/C_MD is one for all losses) or scale-free (the slope goes as 1/D).
    """

    variant: str
    loss: str
    ratio: Estimate


@dataclass(frozen=True)
class Prediction:
    """Predicted and measured memorization and dilation of one loss at one eta; predicted is NaN where the
    model has none.
    """

    loss: str
    eta: float
    predicted_memorization: Estimate
    measured_memorization: Estimate
    predicted_dilation: Estimate
    measured_dilation: Estimate
    used_to_fit: bool


@dataclass(frozen=True)
class Fit:
    """What the data say about the model. `fits` is True only with no entry in `reasons`."""

    reference: str
    slope: Estimate
    floor: float
    gamma: Estimate
    lambda_w: Estimate
    lambda_h: Estimate
    slopes: dict[str, Estimate]
    r_squared: dict[str, float]
    slope_ratios: tuple[SlopeRatio, ...]
    predictions: tuple[Prediction, ...]
    fits: bool
    reasons: tuple[str, ...]
    runs: int
    seeds: int


def penalties_from_distances(
    distance_ce: float, distance_ls: float, alpha: float, num_classes: int = 2
) -> Penalties | None:
    """lambda_W and lambda_H for which the layer-peeled model has D_CE and D_LS; None where no lambdas do.

    gamma^2 = d(e)/d(e + alpha (N-1)/N) fixes e = 2 sqrt((N-1) lambda_W lambda_H / N); D_CE then fixes their
    ratio. gamma has a smallest value, above 1: a measured gamma below it refutes the model. Of the two
    solutions above it, the one with the larger features is taken.

    >>> found = penalties_from_distances(3.0458, 2.0302, .1)
    >>> round(found.lambda_w, 4), round(found.lambda_h, 4)
    (0.001, 0.001)
    """
    if not (distance_ce > 0 and distance_ls > 0 and 0 < alpha < 1):
        return None
    share = (num_classes - 1) / num_classes

    def gap(c: float) -> float:
        return float(np.log((num_classes - 1) * (1 - c) / c))

    def log_square(log_e: float) -> float:
        e = float(np.exp(log_e))
        return float(np.log(gap(e) / gap(e + alpha * share)))

    low, high = np.log(1e-14), np.log(share * (1 - alpha)) - 1e-9
    turn = float(minimize_scalar(log_square, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x)
    target = 2 * float(np.log(distance_ce / distance_ls))
    if target < log_square(turn) or target > log_square(low):
        return None
    e = float(np.exp(brentq(lambda x: log_square(x) - target, low, turn, xtol=1e-14)))
    root = e / (2 * np.sqrt(share))
    ratio = (distance_ce**2 / (2 * gap(e))) / np.sqrt(share)  # sqrt(lambda_W / lambda_H)
    return Penalties(float(root * ratio), float(root / ratio))


def fit_runs(
    loss: Sequence[str],
    eta: ArrayLike,
    memorization: ArrayLike,
    nc1: ArrayLike,
    distance: ArrayLike,
    seed: ArrayLike,
    models: Models,
    num_classes: int = 2,
    law: str = "circle",
    reference: str = "CE",
    partner: str = "LS",
    resamples: int = 400,
) -> Fit:
    """Fit C_MD on the reference loss and the lambdas on the distances of reference and partner; predict
    everything else.

    Args:
        loss, eta, memorization, nc1, distance, seed: one entry a run. eta = n_corrupted / n_clean;
        memorization = eta times the mean distance of a
            corrupted sample to the test mean of its true class; nc1 on test data; distance: mean between
            test class means.
        models: kind and alpha of each loss in the data, such as {"CE": ("smoothing", 0.), "LS":
        ("smoothing", .1)}.
        resamples: bootstrap resamples, of seeds, all eta of a seed together.

    Raises:
        ValueError: arrays of unequal length, a loss without a model, or fewer than three runs of the
        reference loss.

    The verdict `fits` asks, of every loss: R^2 of its line at least .8; of the pair: that lambdas exist; of
    every cell NOT used to fit: predicted over measured memorization within a factor 1.25. What failed is
    said in `reasons`.
    """
    data = _Runs.of(loss, eta, memorization, nc1, distance, seed, models, num_classes, law)
    if (data.loss == reference).sum() < 3 or reference not in models or partner not in models:
        raise ValueError(f"a fit needs at least 3 runs of {reference!r} and models for {reference!r} and {partner!r}")
    generator = np.random.default_rng(0)
    seeds = np.unique(data.seed)
    draws = [data]
    if len(seeds) > 1:
        draws += [data.resampled(generator.choice(seeds, len(seeds))) for _ in range(resamples)]
    names = [name for name in models if (data.loss == name).sum() >= 3]
    lines = [{name: one.line(name) for name in names} for one in draws]
    pairs = [_pair(one, reference, partner, models, num_classes) for one in draws]
    ratios = []
    for variant in ("raw", "scale-free"):
        for name in names:
            if name != reference:
                both = zip(draws, lines, strict=True)
                measured = [_ratio(one, line, reference, name, variant) for one, line in both]
                ratios.append(SlopeRatio(variant, name, _estimate(measured)))
    slopes = {name: _estimate([line[name][0] for line in lines]) for name in names}
    r_squared = {name: lines[0][name][2] for name in names}
    predictions = _predictions(draws, lines, pairs, models, num_classes, law, (reference, partner))
    reasons = _reasons(r_squared, slopes, pairs[0][1], predictions, partner)
    return Fit(
        reference,
        _estimate([1 / line[reference][0] for line in lines]),
        lines[0][reference][1],
        _estimate([gamma for gamma, _ in pairs]),
        _estimate([found.lambda_w if found else np.nan for _, found in pairs]),
        _estimate([found.lambda_h if found else np.nan for _, found in pairs]),
        slopes,
        r_squared,
        tuple(ratios),
        predictions,
        not reasons,
        tuple(reasons),
        len(data.eta),
        len(seeds),
    )


@dataclass(frozen=True)
class _Runs:
    loss: NDArray[np.str_]
    eta: Array
    memorization: Array
    dilation: Array
    distance: Array
    seed: NDArray[np.int64]

    @classmethod
    def of(
        cls, loss: Sequence[str], eta: ArrayLike, memorization: ArrayLike, nc1: ArrayLike, distance: ArrayLike,
        seed: ArrayLike, models: Models, num_classes: int, law: str,
    ) -> _Runs:  # fmt: skip
        names, seeds = np.asarray(list(loss), dtype=np.str_), np.asarray(seed, dtype=np.int64)
        columns = [np.asarray(column, dtype=np.float64) for column in (eta, memorization, nc1, distance)]
        if any(column.shape != names.shape for column in (*columns, seeds)):
            raise ValueError("loss, eta, memorization, nc1, distance and seed must have one entry a run each")
        missing = sorted(set(names.tolist()) - set(models))
        if missing:
            raise ValueError(f"models must name a kind and alpha for every loss, got none for {', '.join(missing)}")
        good = np.all([np.isfinite(column) for column in columns], axis=0) & (columns[2] >= 0)
        share = 1 - 1 / num_classes if law in ("circle", "disc") else 1.0
        spread = np.sqrt(columns[2][good] / (2 * share))
        return cls(names[good], columns[0][good], columns[1][good], spread, columns[3][good], seeds[good])

    def resampled(self, seeds: NDArray[np.int64]) -> _Runs:
        index = np.concatenate([np.flatnonzero(self.seed == one) for one in seeds])
        fields = (self.loss, self.eta, self.memorization, self.dilation, self.distance, self.seed)
        return _Runs(*(field[index] for field in fields))

    def line(self, name: str) -> tuple[float, float, float]:
        """Slope, floor and R^2 of dilation against memorization for one loss."""
        mine = self.loss == name
        x, y = self.memorization[mine], self.dilation[mine]
        if len(x) < 3 or np.ptp(x) == 0:
            return np.nan, np.nan, np.nan
        slope, floor = np.polyfit(x, y, 1)
        total = float(((y - y.mean()) ** 2).sum())
        rest = float(((y - slope * x - floor) ** 2).sum())
        return float(slope), float(floor), 1 - rest / total if total > 0 else np.nan

    def typical_distance(self, name: str) -> float:
        """Mean D of one loss at its smallest eta, where memorization disturbs the class means least."""
        mine = self.loss == name
        if not mine.any():
            return np.nan
        return float(self.distance[mine & (self.eta == self.eta[mine].min())].mean())


def _pair(data: _Runs, reference: str, partner: str, models: Models, N: int) -> tuple[float, Penalties | None]:
    first, second = data.typical_distance(reference), data.typical_distance(partner)
    return first / second, penalties_from_distances(first, second, models[partner][1], N)


def _ratio(data: _Runs, line: dict[str, tuple[float, float, float]], reference: str, name: str, variant: str) -> float:
    ratio = line[name][0] / line[reference][0]
    if variant == "scale-free":
        ratio *= data.typical_distance(name) / data.typical_distance(reference)
    return float(ratio)


def _predictions(
    draws: list[_Runs],
    lines: list[dict[str, tuple[float, float, float]]],
    pairs: list[tuple[float, Penalties | None]],
    models: Models,
    N: int,
    law: str,
    fitted: tuple[str, str],
) -> tuple[Prediction, ...]:
    data, found = draws[0], []
    nothing = Estimate(np.nan, np.nan, np.nan)
    for name, (kind, alpha) in models.items():
        fast = N == 2 and kind in ("smoothing", "relaxation", "squared")
        for eta in np.unique(data.eta[(data.loss == name) & (data.eta > 0)]):
            chances = []
            for line, (_, penalties) in list(zip(lines, pairs, strict=True))[: None if fast else 1]:
                slope = line[fitted[0]][0] if fitted[0] in line else np.nan
                if penalties is not None and slope > 0:
                    chances.append(_model(kind, alpha, penalties, float(eta), 1 / slope, N, law))
            mem, dil = (_estimate([pair[i] for pair in chances]) if chances else nothing for i in (0, 1))
            cells = [(one.loss == name) & (one.eta == eta) for one in draws]
            measured = [
                _estimate([_mean(values(one), cell) for one, cell in zip(draws, cells, strict=True)])
                for values in (_memorization, _dilation)
            ]
            found.append(Prediction(name, float(eta), mem, measured[0], dil, measured[1], name in fitted))
    return tuple(found)


_memorization: Callable[[_Runs], Array] = lambda runs: runs.memorization  # noqa: E731
_dilation: Callable[[_Runs], Array] = lambda runs: runs.dilation  # noqa: E731


def _model(kind: Kind, alpha: float, at: Penalties, eta: float, slope: float, N: int, law: str) -> tuple[float, float]:
    """Memorization and dilation of one loss in the model; NaN where its class means have collapsed."""
    if N == 2 and (kind == "smoothing" or kind == "relaxation"):
        solved = dilation(alpha, at.lambda_w, at.lambda_h, eta, slope, law, loss=kind)
        return float(solved.memorization), float(solved.dilation)
    if kind == "squared":
        exact = squared_dilation(N, at.lambda_w, at.lambda_h, eta, slope)
        return float(exact.memorization), float(exact.dilation)
    if class_geometry(LogitLoss(kind, alpha), N, at.lambda_w / N, at.lambda_h / N).collapsed:
        return np.nan, np.nan
    general = multiclass_dilation(N, alpha, at.lambda_w, at.lambda_h, eta, slope, law, kind)
    return general.memorization, general.dilation


def _reasons(
    r_squared: dict[str, float],
    slopes: dict[str, Estimate],
    found: Penalties | None,
    predictions: tuple[Prediction, ...],
    partner: str,
) -> list[str]:
    said = []
    for name, r in r_squared.items():
        if not r >= 0.8:
            said.append(f"{name}: dilation is not linear in memorization (R^2 {r:.2f} < .8)")
        if not slopes[name].value > 0:
            said.append(f"{name}: dilation does not rise with memorization")
    if found is None:
        return [*said, f"no lambdas give the measured ratio of the distances under CE and {partner}"]
    for one in predictions:
        ratio = one.predicted_memorization.value / max(one.measured_memorization.value, 1e-300)
        if not (one.used_to_fit or 1 / 1.25 <= ratio <= 1.25):
            said.append(f"{one.loss} at eta {one.eta:.3g}: predicted memorization is {ratio:.2f} times the measured")
    return said


def _mean(values: Array, mine: NDArray[np.bool_]) -> float:
    return float(values[mine].mean()) if mine.any() else np.nan


def _estimate(values: Sequence[float]) -> Estimate:
    """The first value is the data's own, the rest are bootstrap draws."""
    rest = np.array(values[1:], dtype=np.float64)
    rest = rest[np.isfinite(rest)]
    if len(rest) < 20:
        return Estimate(float(values[0]), np.nan, np.nan)
    low, high = np.quantile(rest, [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))
