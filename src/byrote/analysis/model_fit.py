"""Fit the two-class model to measured runs, and use the fitted parameters for testable predictions (claim C3).

`fit_history` takes a table with the last readings of stored runs, and `fit_runs` takes plain arrays with one entry per
run. The measured dilation r/D is computed from NC1 = 2 s (r/D)^2. Here s is the share of the within-class variance
along the differences of class means; it depends on the law of the spread (1 - 1/N for circle and disc, 1 for two-point
and segment). Intervals over seeds come from the jackknife: the model is fitted once to all runs and once without each
seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from byrote.analysis.model_runs import Runs
from byrote.analysis.model_solved import FEWEST_RATES, Models, Prediction, SlopeRatio, Task, slope_ratios, solve
from byrote.analysis.samples import Sample
from byrote.theory.logit_losses import Kind
from byrote.theory.penalties import least_gamma
from byrote.theory.predicted import VARIANTS, Variant

__all__ = [
    "FEWEST_RATES",
    "KINDS_OF",
    "NEEDS",
    "VARIANTS",
    "Columns",
    "Fit",
    "Models",
    "Prediction",
    "SlopeRatio",
    "Variant",
    "fit_history",
    "fit_runs",
    "fittable",
    "mean_eta",
    "readable",
]

KINDS_OF: dict[str, Kind] = {
    "CE": "smoothing",
    "LS": "smoothing",
    "LR": "relaxation",
    "MSE": "squared",
    "MSE-p": "squared-probabilities",
    "RLL": "robust-log",
}
"""The losses that the model covers: their short names in tables, and their kinds in the model."""
NEEDS = ("loss", "alpha", "rate", "seed", "realised_rate", "mem_mean", "nc1_test", "class_distance")
"""The columns that a fit needs."""
_NO_DISTANCES = "the two losses share no eta and seed, with all seeds or with one left out"
_NO_LAMBDAS = "no penalties give the measured distances, with all seeds or with one left out"
_NO_SLOPE = "dilation does not rise with memorization under the reference loss, with all seeds or with one left out"


@dataclass(frozen=True)
class Fit:
    """The fit of the model to the data. `fits` is True only if `reasons` is empty.

    Each `Sample` has the value of all runs in `whole` and one pseudo-value per seed; the fields marked `log` hold
    logarithms. `slope` is C_MD. `gamma` is D of the reference loss divided by D of the partner loss; in the model it is
    at least `gamma_least`. `slopes` are the slopes of dilation against memorization, by loss.
    """

    reference: str
    partner: str
    slope: Sample  # log
    floor: float
    gamma: Sample  # log
    gamma_least: float
    lambda_w: Sample  # log
    lambda_h: Sample  # log
    slopes: dict[str, Sample]
    r_squared: dict[str, float]
    slope_ratios: tuple[SlopeRatio, ...]
    predictions: tuple[Prediction, ...]
    fits: bool
    reasons: tuple[str, ...]
    runs: int
    seeds: int


class Columns(Protocol):
    """Anything that gives columns by name, such as a table of runs or a dictionary of arrays."""

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """One column."""
        ...


def mean_eta(final: Columns) -> dict[float, float]:
    """The mean of n_corrupted / n_clean = rho / (1 - rho) over the runs of each nominal rate."""
    rho, rate = (np.asarray(final[name], dtype=np.float64) for name in ("realised_rate", "rate"))
    known = np.isfinite(rho) & np.isfinite(rate)
    return {float(one): float((rho / (1 - rho))[known & (rate == one)].mean()) for one in np.unique(rate[known])}


def readable(final: Columns) -> NDArray[np.bool_]:
    """Which runs have every reading that a fit needs; runs without noise need no mem."""
    names = [name for name in NEEDS if name not in ("loss", "alpha", "mem_mean")]
    finite = np.all([np.isfinite(np.asarray(final[name], dtype=np.float64)) for name in names], axis=0)
    mem, rho = (np.asarray(final[name], dtype=np.float64) for name in ("mem_mean", "realised_rate"))
    return np.asarray(finite & (np.isfinite(mem) | (rho == 0)))


def fittable(final: Columns) -> bool:
    """Whether the data suffice for a fit: CE and LS share three rates with the same seeds (one rate may be 0)."""
    loss, rate, seed = (np.asarray(final[name])[readable(final)] for name in ("loss", "rate", "seed"))
    pairs = [set(zip(rate[loss == name].tolist(), seed[loss == name].tolist(), strict=True)) for name in ("CE", "LS")]
    return len({one for one, _ in pairs[0] & pairs[1]}) >= FEWEST_RATES


def fit_history(final: Columns, law: str = "circle", predict: bool = True) -> Fit:
    """Fit the model to the runs of one two-class setting, which differ in loss, rate and seed.

    The eta of a run is n_corrupted / n_clean = rho / (1 - rho), where rho is its realised rate. Runs of one nominal
    rate form a cell, and the cell has their mean eta. Memorization in the model is eta times the mean distance of a
    corrupted sample to the test mean of its true class (mem_mean), and 0 without noise. The stored column
    mem_noise_weighted is different: it divides by the number of all samples, not of clean samples.

    Args:
        final: columns with one entry per run: loss, alpha, rate, seed, realised_rate, mem_mean, nc1_test,
            class_distance. Runs with a loss that the model does not cover, or without one of these readings, are left
            out.
        law: the law of the features' spread within a class.
        predict: whether to solve the model for each loss and eta; if not, only slopes and parameters are computed.

    Raises:
        ValueError: a loss with several values of alpha, or fewer than three runs of CE.
    """
    names = np.asarray(final["loss"]).astype(str)
    usable = np.isin(names, list(KINDS_OF)) & readable(final)
    rho, rate, mem = (
        np.asarray(final[name], dtype=np.float64)[usable] for name in ("realised_rate", "rate", "mem_mean")
    )
    eta = mean_eta(final)
    cell = np.array([eta[one] for one in rate.tolist()])
    memorization = np.where(rho > 0, rho / (1 - rho) * mem, 0.0)
    nc1, distance, seed = (np.asarray(final[name])[usable] for name in ("nc1_test", "class_distance", "seed"))
    models = _models(names[usable], np.asarray(final["alpha"], dtype=np.float64)[usable])
    return fit_runs(names[usable].tolist(), cell, memorization, nc1, distance, seed, models, 2, law, predict=predict)


def _models(names: NDArray[np.str_], alphas: NDArray[np.float64]) -> Models:
    """The kind and alpha of each loss in the data, in the order of KINDS_OF."""
    models: dict[str, tuple[Kind, float]] = {}
    for name, kind in KINDS_OF.items():
        used = np.unique(alphas[(names == name) & np.isfinite(alphas)])
        if len(used) > 1:
            raise ValueError(f"expected one alpha for each loss, got {name} with alpha {', '.join(map(str, used))}")
        if (names == name).any():
            models[name] = (kind, float(used[0]) if len(used) else 0.0)
    return models


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
    predict: bool = True,
) -> Fit:
    """Fit C_MD to the reference loss and the lambdas to D of reference and partner loss; predict everything else.

    Args:
        loss: (R,), the name of each run's loss.
        eta: (R,), n_corrupted / n_clean. Runs of equal eta form one cell, so if eta varies over seeds, pass the mean.
        memorization: (R,), the run's own eta times the mean distance of a corrupted sample to the test mean of its true
            class.
        nc1: (R,), NC1 on test data.
        distance: (R,), the mean distance between test class means.
        seed: (R,) whole numbers.
        models: kind and alpha of each loss in the data, such as {"CE": ("smoothing", 0.), "LS": ("smoothing", .1)}.
        num_classes: N.
        law: the law of the features' spread within a class.
        reference: the loss from which C_MD and the floor (dilation without memorization) are fitted.
        partner: the loss that, together with the reference, determines the lambdas (penalties on weights and features).
        predict: whether to solve the model for each loss and eta.

    Raises:
        ValueError: arrays of unequal length, a loss without a model, or fewer than three runs of the
            reference loss.

    `fits` is True under three conditions. For every loss, dilation rises with memorization on a line with R^2 of at
    least .8. Lambdas exist for the pair of losses. In every cell, the memorization predicted by the raw model is within
    a factor of 1.25 of the measured memorization. `reasons` lists the failures.
    """
    share = 1 - 1 / num_classes if law in ("circle", "disc") else 1.0
    runs = Runs.of(loss, eta, memorization, nc1, distance, seed, share)
    missing = sorted(set(runs.loss.tolist()) - set(models))
    if missing:
        raise ValueError(f"models must name a kind and alpha for every loss, got none for {', '.join(missing)}")
    if runs.of_loss(reference).sum() < 3 or reference not in models or partner not in models:
        raise ValueError(f"a fit needs at least 3 runs of {reference!r} and models for {reference!r} and {partner!r}")
    task = Task(runs, models, num_classes, law, reference, partner)
    groups = [runs.of_loss(name) for name in (reference, partner)]
    own, pair = task.parameters(runs.shared_seeds(groups[0])), task.parameters(runs.shared_seeds(*groups))
    lines = {name: runs.points(name) for name in models if runs.of_loss(name).sum() >= 3}
    predictions = solve(task) if predict else ()
    slopes = {name: points.slope() for name, points in lines.items()}
    r_squared = {name: points.r_squared().whole for name, points in lines.items()}
    exist = bool(np.isfinite(pair.lambda_w[0]))
    reasons = _reasons(r_squared, slopes, exist, predictions, partner)
    return Fit(
        reference=reference,
        partner=partner,
        slope=own.at.sample(np.log(own.slope), "log", _NO_SLOPE),
        floor=float(own.floor[0]),
        gamma=pair.at.sample(np.log(pair.gamma), "log", _NO_DISTANCES),
        gamma_least=least_gamma(models[partner][1], num_classes),
        lambda_w=pair.at.sample(np.log(pair.lambda_w), "log", _NO_LAMBDAS),
        lambda_h=pair.at.sample(np.log(pair.lambda_h), "log", _NO_LAMBDAS),
        slopes=slopes,
        r_squared=r_squared,
        slope_ratios=tuple(slope_ratio for name in models for slope_ratio in slope_ratios(task, name)),
        predictions=predictions,
        fits=not reasons,
        reasons=tuple(reasons),
        runs=len(runs.eta),
        seeds=len(np.unique(runs.seed)),
    )


def _reasons(
    r_squared: dict[str, float],
    slopes: dict[str, Sample],
    exist: bool,
    predictions: Sequence[Prediction],
    partner: str,
) -> list[str]:
    """The reasons why the model does not fit, from the values of all runs."""
    why = []
    for name, r in r_squared.items():
        if not r >= 0.8:
            why.append(f"{name}: dilation is not linear in memorization (R^2 {r:.2f} < .8)")
        if not slopes[name].whole > 0:
            why.append(f"{name}: dilation does not rise with memorization")
    if not exist:
        return [*why, f"no lambdas give the measured ratio of the distances under CE and {partner}"]
    for one in predictions:
        ratio = float(np.exp(one.predicted_memorization.whole)) / max(one.measured_memorization.whole, 1e-300)
        if one.variant == "raw" and not 1 / 1.25 <= ratio <= 1.25:
            why.append(f"{one.loss} at eta {one.eta:.3g}: predicted memorization is {ratio:.2f} times the measured")
    return why
