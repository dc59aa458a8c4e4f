"""From measured runs to the model's parameters, and from those to predictions that can fail (claim C3).

Everything comes as plain arrays, one entry a run. The measured dilation is read off NC1: NC1 = 2 s (r/D)^2,
s the share of the variance that the law puts along the differences of class means (1 - 1/N for circle and
disc, 1 for two-point and segment).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .dilation import dilation
from .geometry import class_geometry
from .logit_losses import Kind, LogitLoss
from .multiclass import multiclass_dilation
from .parameters import Array
from .penalties import least_gamma, penalties
from .resampled import Estimate, Runs, estimate
from .variants import scale_free_dilation, squared_dilation

__all__ = [
    "VARIANTS",
    "Fit",
    "Models",
    "Prediction",
    "SlopeRatio",
    "Variant",
    "fit_runs",
]

Models: TypeAlias = Mapping[str, tuple[Kind, float]]  # a loss's name in the data: its kind and alpha in the model
Variant: TypeAlias = Literal["raw", "scale-free"]
VARIANTS: tuple[Variant, ...] = ("raw", "scale-free")
FEWEST_RATES = 3


@dataclass(frozen=True)
class SlopeRatio:
    """Measured over predicted slope of dilation against memorization for one loss, on the eta and seeds it shares
    with the reference loss, which sets the prediction.

    variant: raw (the slope 1/C_MD is one for all losses) or scale-free (the slope goes as 1/D).
    """

    variant: Variant
    loss: str
    ratio: Estimate


@dataclass(frozen=True)
class Prediction:
    """Predicted and measured memorization and dilation of one loss at one eta; predicted is NaN where the
    model has none.

    predicted_dilation: r/D and the floor of the reference loss, which the measured dilation has too.
    memorization_ratio: measured over predicted, paired by seed. gave_parameters: the loss is one of the two whose
    slope or distances the parameters were read off (its memorization was not).
    """

    variant: Variant
    loss: str
    eta: float
    predicted_memorization: Estimate
    measured_memorization: Estimate
    predicted_dilation: Estimate
    measured_dilation: Estimate
    memorization_ratio: Estimate
    gave_parameters: bool


@dataclass(frozen=True)
class Fit:
    """What the data say about the model. `fits` is True only with no entry in `reasons`.

    slope: C_MD. gamma: D of the reference over D of the partner, which in the model is at least gamma_least.
    """

    reference: str
    partner: str
    slope: Estimate
    floor: float
    gamma: Estimate
    gamma_least: float
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
        loss, eta, memorization, nc1, distance, seed: one entry a run. eta = n_corrupted / n_clean; runs of equal
            eta are one cell, so give the mean over seeds where the realised rate varies. memorization = eta (the
            run's own) times the mean distance of a corrupted sample to the test mean of its true class; nc1 on
            test data; distance: mean between test class means.
        models: kind and alpha of each loss in the data, such as {"CE": ("smoothing", 0.), "LS":
            ("smoothing", .1)}.
        resamples: bootstrap resamples, of seeds, all eta of a seed together.

    Raises:
        ValueError: arrays of unequal length, a loss without a model, or fewer than three runs of the
            reference loss.

    `fits` asks, of every loss: R^2 of its line at least .8, rising; of the pair: that lambdas exist; of every cell:
    predicted over measured memorization (raw model) within a factor 1.25. What failed is said in `reasons`.
    """
    share = 1 - 1 / num_classes if law in ("circle", "disc") else 1.0
    runs = Runs.of(loss, eta, memorization, nc1, distance, seed, share)
    missing = sorted(set(runs.loss.tolist()) - set(models))
    if missing:
        raise ValueError(f"models must name a kind and alpha for every loss, got none for {', '.join(missing)}")
    if runs.of_loss(reference).sum() < 3 or reference not in models or partner not in models:
        raise ValueError(f"a fit needs at least 3 runs of {reference!r} and models for {reference!r} and {partner!r}")
    task = _Task(runs, models, num_classes, law, reference, partner, resamples)
    own, pair = task.parameters(reference), task.parameters(partner)
    lines = {name: task.line(name) for name in models if runs.of_loss(name).sum() >= 3}
    predictions = tuple(one for variant in VARIANTS for name in models for one in task.predictions(variant, name))
    slopes = {name: line[0] for name, line in lines.items()}
    r_squared = {name: line[1] for name, line in lines.items()}
    exist = bool(np.isfinite(pair.lambda_w[0]))
    reasons = _reasons(r_squared, slopes, exist, predictions, partner)
    return Fit(
        reference=reference,
        partner=partner,
        slope=estimate(own.slope, own.seeds),
        floor=float(own.floor[0]),
        gamma=estimate(pair.gamma, pair.seeds),
        gamma_least=least_gamma(models[partner][1], num_classes),
        lambda_w=estimate(pair.lambda_w, pair.seeds, log=True),
        lambda_h=estimate(pair.lambda_h, pair.seeds, log=True),
        slopes=slopes,
        r_squared=r_squared,
        slope_ratios=tuple(one for variant in VARIANTS for name in models for one in task.ratios(variant, name)),
        predictions=predictions,
        fits=not reasons,
        reasons=tuple(reasons),
        runs=len(runs.eta),
        seeds=len(np.unique(runs.seed)),
    )


@dataclass(frozen=True)
class _Parameters:
    """The model's parameters, each (B,): from all runs, then under resamples of `seeds` seeds."""

    weights: Array
    seeds: int
    slope: Array
    floor: Array
    gamma: Array
    distance: Array
    lambda_w: Array
    lambda_h: Array


@dataclass(frozen=True)
class _Task:
    runs: Runs
    models: Models
    num_classes: int
    law: str
    reference: str
    partner: str
    resamples: int

    def parameters(self, name: str) -> _Parameters:
        """Under resamples of the seeds that a loss shares with reference and partner."""
        seeds = self.runs.shared_seeds(name, self.reference, *((self.partner,) if name != self.reference else ()))
        weights = self.runs.weights(seeds, self.resamples)
        slope, floor, _ = self.runs.line(weights, self.runs.of_loss(self.reference))
        first, second = self.runs.distances(weights, self.reference, self.partner)
        lambdas = penalties(first, second, self.models[self.partner][1], self.num_classes)
        with np.errstate(invalid="ignore", divide="ignore"):
            c_md = np.where(slope > 0, 1 / slope, np.nan)
            return _Parameters(weights, len(seeds), c_md, floor, first / second, first, *lambdas)

    def line(self, name: str) -> tuple[Estimate, float]:
        """The slope of one loss over all its runs, and R^2."""
        seeds = self.runs.shared_seeds(name)
        slope, _, r_squared = self.runs.line(self.runs.weights(seeds, self.resamples), self.runs.of_loss(name))
        return estimate(slope, len(seeds)), float(r_squared[0])

    def ratios(self, variant: Variant, name: str) -> list[SlopeRatio]:
        """At most one: none of the reference, nor of a loss that shares fewer than three eta with it."""
        mine, theirs = self.runs.alike(name, self.reference)
        if name == self.reference or len(np.unique(self.runs.eta[mine])) < FEWEST_RATES:
            return []
        seeds = np.unique(self.runs.seed[mine])
        weights = self.runs.weights(seeds, self.resamples)
        above, below = (self.runs.line(weights, mask)[0] for mask in (mine, theirs))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(below > 0, above / below, np.nan)
            if variant == "scale-free":
                first, second = self.runs.distances(weights, name, self.reference)
                ratio = ratio * first / second
        return [SlopeRatio(variant, name, estimate(ratio, len(seeds)))]

    def predictions(self, variant: Variant, name: str) -> list[Prediction]:
        runs, at = self.runs, self.parameters(name)
        found = []
        for eta in np.unique(runs.eta[runs.of_loss(name) & (runs.eta > 0)]):
            cell = runs.of_loss(name) & (runs.eta == eta)
            memorization, spread = self.solve(variant, *self.models[name], at, float(eta))
            measured = [runs.mean(at.weights, cell, values) for values in (runs.memorization, runs.dilation)]
            seeds = min(at.seeds, len(np.unique(runs.seed[cell])))
            found.append(
                Prediction(
                    variant,
                    name,
                    float(eta),
                    estimate(memorization, at.seeds),
                    estimate(measured[0], seeds),
                    estimate(spread + at.floor, at.seeds),
                    estimate(measured[1], seeds),
                    estimate(measured[0] / memorization, seeds),
                    name in (self.reference, self.partner),
                )
            )
        return found

    def solve(self, variant: Variant, kind: Kind, alpha: float, at: _Parameters, eta: float) -> tuple[Array, Array]:
        """Memorization and r/D of one loss in the model, (B,); NaN where its class means have collapsed."""
        memorization, spread = np.full((2, len(at.slope)), np.nan)
        known = np.isfinite(at.lambda_w) & np.isfinite(at.slope)
        fast = kind == "squared" or (self.num_classes == 2 and kind in ("smoothing", "relaxation"))
        if not fast:
            known[1:] = False  # found by restarts: once, without an interval
        if not known.any():
            return memorization, spread
        slope, N = at.slope[known], self.num_classes
        if variant == "scale-free":
            slope = slope / at.distance[known]
        lambdas = at.lambda_w[known], at.lambda_h[known]
        if kind == "squared":
            if variant == "scale-free":
                slope = slope * squared_dilation(N, *lambdas, eta, slope).distance
            exact = squared_dilation(N, *lambdas, eta, np.where(slope > 0, slope, 1.0))
            both = np.where(exact.collapsed, np.nan, np.stack([exact.memorization, exact.dilation]))
        elif fast and (kind == "smoothing" or kind == "relaxation"):
            solver = scale_free_dilation if variant == "scale-free" else dilation
            solved = solver(alpha, *lambdas, eta, slope, self.law, loss=kind)
            both = np.where(solved.collapsed, np.nan, np.stack([solved.memorization, solved.dilation]))
        else:
            both = self._restarts(
                variant, LogitLoss(kind, alpha), float(lambdas[0][0]), float(lambdas[1][0]), eta, float(slope[0])
            )
        memorization[known], spread[known] = both
        return memorization, spread

    def _restarts(
        self, variant: Variant, loss: LogitLoss, lambda_w: float, lambda_h: float, eta: float, slope: float
    ) -> Array:
        N = self.num_classes
        if class_geometry(loss, N, lambda_w / N, lambda_h / N).collapsed:
            return np.full((2, 1), np.nan)
        free = variant == "scale-free"
        found = multiclass_dilation(N, loss.alpha, lambda_w, lambda_h, eta, slope, self.law, loss.kind, free)
        return np.array([[found.memorization], [found.dilation]])


def _reasons(
    r_squared: dict[str, float],
    slopes: dict[str, Estimate],
    exist: bool,
    predictions: Sequence[Prediction],
    partner: str,
) -> list[str]:
    said = []
    for name, r in r_squared.items():
        if not r >= 0.8:
            said.append(f"{name}: dilation is not linear in memorization (R^2 {r:.2f} < .8)")
        if not slopes[name].value > 0:
            said.append(f"{name}: dilation does not rise with memorization")
    if not exist:
        return [*said, f"no lambdas give the measured ratio of the distances under CE and {partner}"]
    for one in predictions:
        ratio = one.predicted_memorization.value / max(one.measured_memorization.value, 1e-300)
        if one.variant == "raw" and not 1 / 1.25 <= ratio <= 1.25:
            said.append(f"{one.loss} at eta {one.eta:.3g}: predicted memorization is {ratio:.2f} times the measured")
    return said
