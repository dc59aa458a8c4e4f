"""A2: on clean labels, trained ReLU networks reach the positive neural collapse of MD's Definition 3.1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from byrote.claims.cells import cells, read
from byrote.claims.decide import Check, at_least, conclude
from byrote.claims.statistics import share_of_runs
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results
from byrote.table import Table

__all__ = ["MODES", "orthogonal_and_equal"]

COSINE, SPREAD = 0.1, 0.2
ONE_AT_ZERO = 1.0  # coefficient of variation of the norms above which, at N = 2, one class sits near 0
SHARE = 0.9


def _one_at_zero(norm_cv: NDArray[np.float64]) -> NDArray[np.bool_]:
    return norm_cv > ONE_AT_ZERO


def _both_away(norm_cv: NDArray[np.float64]) -> NDArray[np.bool_]:
    return norm_cv <= ONE_AT_ZERO


MODES = {"one class at zero": _one_at_zero, "both classes away from zero": _both_away}  # of N = 2, by norm_cv


def orthogonal_and_equal(final: Table) -> NDArray[np.bool_]:
    """Which runs have class means that are orthogonal (uncentred cosine < .1) and of equal norm (CV < .2)."""
    return np.asarray((np.abs(final["uncentred_cosine"]) < COSINE) & (final["norm_cv"] < SPREAD))


@claim(
    "A2",
    statement="Trained ReLU networks on clean labels have class means of equal norm that are orthogonal, uncentred",
    bar="share of runs with mean uncentred cosine < .1 and CV of the norms < .2: lower end >= .9 holds, "
    "upper end < .9 fails",
    published="asserted (Theorem 3.2 and MD's Fig. 3)",
    method="exact (Clopper-Pearson) interval over runs",
    aggregation="a share for each setting, loss and M: one that fails, fails the claim; otherwise the share of all "
    "runs decides",
    minimum="36 runs that all agree to hold; 2 that do not to fail",
    needs=("loss", "rate", "seed", "feature_width", "uncentred_cosine", "norm_cv", "centred_cosine", "collapsed"),
)
def _a2(results: Results) -> Finding:
    runs = read(results)
    clean = runs.where(rate=0.0)
    if not len(clean.final):
        raise NotTested("no run at eta 0")
    checks, rows = [], []
    for cell in cells(clean):
        for (loss,), final in cell.runs.final.groups("loss"):
            good = orthogonal_and_equal(final)
            name = f"{cell.name} {loss}"
            share = share_of_runs(int(good.sum()), len(final))
            checks.append(Check(name, "share of runs", share, at_least(SHARE), facts=_shape(cell.facts, final)))
    failed = [check for check in checks if check.verdict == "fails"]
    rows = [check.row() for check in checks if check.verdict != "fails"]
    good = orthogonal_and_equal(clean.final)
    pooled = Check("all settings", "share of runs", share_of_runs(int(good.sum()), len(good)), at_least(SHARE))
    return conclude([*failed, pooled], runs=len(good), notes=clean.notes, rows=rows)


def _shape(facts: Row, final: Table) -> Row:
    """What else the reader wants: the centred cosine for N >= 3, the share with one class at zero for N = 2."""
    shape: Row = {"M": facts.get("feature_width"), "uncentred_cosine": float(np.mean(final["uncentred_cosine"]))}
    if facts.get("num_classes") == 2:
        return shape | {"one_class_at_zero": float(np.mean(final["norm_cv"] > ONE_AT_ZERO))}
    return shape | {"centred_cosine": float(np.mean(final["centred_cosine"]))}
