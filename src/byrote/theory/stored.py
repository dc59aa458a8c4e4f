"""Fits of the two-class model to the last rows of stored runs, given as columns by name."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .fit import FEWEST_RATES, Fit, Models, fit_runs
from .logit_losses import Kind

__all__ = ["KINDS_OF", "NEEDS", "Columns", "fit_history", "fittable", "mean_eta", "readable"]

KINDS_OF: dict[str, Kind] = {
    "CE": "smoothing",
    "LS": "smoothing",
    "LR": "relaxation",
    "MSE": "squared",
    "MSE-p": "squared-probabilities",
    "RLL": "robust-log",
}
"""The losses, by their short names in tables, that the model has, and under which kind."""

NEEDS = ("loss", "alpha", "rate", "seed", "realised_rate", "mem_mean", "nc1_test", "class_distance")
"""The columns a fit reads."""


class Columns(Protocol):
    """What holds columns by name, such as a table of runs or a data frame's dictionary of arrays."""

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """One column."""
        ...


def mean_eta(final: Columns) -> dict[float, float]:
    """The mean of n_corrupted / n_clean = rho / (1 - rho) over the runs of each nominal rate."""
    rho, rate = (np.asarray(final[name], dtype=np.float64) for name in ("realised_rate", "rate"))
    known = np.isfinite(rho) & np.isfinite(rate)
    return {float(one): float((rho / (1 - rho))[known & (rate == one)].mean()) for one in np.unique(rate[known])}


def readable(final: Columns) -> NDArray[np.bool_]:
    """Which runs have every reading that a fit needs; without noise there is no mem."""
    names = [name for name in NEEDS if name not in ("loss", "alpha", "mem_mean")]
    finite = np.all([np.isfinite(np.asarray(final[name], dtype=np.float64)) for name in names], axis=0)
    mem, rho = (np.asarray(final[name], dtype=np.float64) for name in ("mem_mean", "realised_rate"))
    return np.asarray(finite & (np.isfinite(mem) | (rho == 0)))


def fittable(final: Columns) -> bool:
    """Whether CE and LS share three rates at equal seeds (one of them may be 0), which a fit needs."""
    loss, rate, seed = (np.asarray(final[name])[readable(final)] for name in ("loss", "rate", "seed"))
    pairs = [set(zip(rate[loss == name].tolist(), seed[loss == name].tolist(), strict=True)) for name in ("CE", "LS")]
    return len({one for one, _ in pairs[0] & pairs[1]}) >= FEWEST_RATES


def fit_history(final: Columns, law: str = "circle", resamples: int = 400) -> Fit:
    """Fit the model to runs of one setting (two classes) that differ by loss, rate and seed.

    A run's eta is n_corrupted / n_clean = rho / (1 - rho), rho its realised rate; runs of one nominal rate make a
    cell, at the mean of their eta. The model's memorization is eta times the mean distance of a corrupted sample to
    the test mean of its true class (mem_mean; the stored mem_noise_weighted divides by all samples, not by the
    clean ones), and 0 without noise.

    Args:
        final: columns with one entry a run: loss, alpha, rate, seed, realised_rate, mem_mean, nc1_test,
            class_distance. Runs of losses that the model does not have, or without a reading, are left out.
        law: of the spread of a class.
        resamples: bootstrap resamples of the seeds.

    Raises:
        ValueError: a loss at several alpha, or fewer than three runs of CE.
    """
    names = np.asarray(final["loss"]).astype(str)
    kept = np.isin(names, list(KINDS_OF)) & readable(final)
    rho, rate, mem = (np.asarray(final[name], dtype=np.float64)[kept] for name in ("realised_rate", "rate", "mem_mean"))
    eta = mean_eta(final)
    cell = np.array([eta[one] for one in rate.tolist()])
    memorization = np.where(rho > 0, rho / (1 - rho) * mem, 0.0)
    nc1, distance, seed = (np.asarray(final[name])[kept] for name in ("nc1_test", "class_distance", "seed"))
    models = _models(names[kept], np.asarray(final["alpha"], dtype=np.float64)[kept])
    return fit_runs(names[kept].tolist(), cell, memorization, nc1, distance, seed, models, 2, law, resamples=resamples)


def _models(names: NDArray[np.str_], alphas: NDArray[np.float64]) -> Models:
    """The kind and alpha of each loss that was run, in the order of KINDS_OF."""
    found: dict[str, tuple[Kind, float]] = {}
    for name, kind in KINDS_OF.items():
        used = np.unique(alphas[(names == name) & np.isfinite(alphas)])
        if len(used) > 1:
            raise ValueError(f"runs of one alpha are needed for each loss, got {name} at {', '.join(map(str, used))}")
        if (names == name).any():
            found[name] = (kind, float(used[0]) if len(used) else 0.0)
    return found
