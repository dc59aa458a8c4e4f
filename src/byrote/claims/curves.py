"""A8: with more than two classes the trend persists, and its curve does not depend on the noise model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from byrote.claims.cells import Cell, cells, read
from byrote.claims.decide import Check, at_most, conclude
from byrote.claims.slopes import RAW, RELATIVE, linear_checks
from byrote.claims.statistics import Array, Estimate, bootstrapped, resamples
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results
from byrote.table import Table

__all__ = ["CLOSE", "LOW_TO_MIDDLE"]

LOW_TO_MIDDLE, CLOSE = 0.2, 0.2
_GRID = 21


@dataclass(frozen=True)
class _Curve:
    """(mem, NC1) at each rate, a point a seed: x and y of shape (S, E), NaN where a run is missing."""

    x: Array
    y: Array

    @classmethod
    def of(cls, final: Table) -> _Curve | None:
        """The curve at effective rates in (0, .2]; None below two of them."""
        rates = final["effective_rate"]
        final = final.where((rates > 0) & (rates <= LOW_TO_MIDDLE + 1e-9) & np.isfinite(final["nc1_test"]))
        seeds, s = np.unique(final["seed"], return_inverse=True)
        etas, e = np.unique(final["rate"], return_inverse=True)
        if len(etas) < 2:
            return None
        x, y = np.full((2, len(seeds), len(etas)), np.nan)
        x[s, e], y[s, e] = final[RAW], final["nc1_test"]
        return cls(x, y)

    def means(self, counts: Array) -> tuple[Array, Array]:
        """The curve of each weighting of the seeds: (B, S) -> two of (B, E)."""
        held = np.isfinite(self.x).astype(np.float64)
        with np.errstate(invalid="ignore"):
            total = counts @ held
            return counts @ np.nan_to_num(self.x) / total, counts @ np.nan_to_num(self.y) / total


def _distance(a: tuple[Array, Array], b: tuple[Array, Array]) -> float:
    """Root mean squared distance of two curves over the mem they share, by their mean height; NaN if none."""
    low, high = max(a[0].min(), b[0].min()), min(a[0].max(), b[0].max())
    if not low < high:
        return float("nan")
    grid = np.linspace(low, high, _GRID)
    first, second = (
        np.interp(grid, curve[0][order], curve[1][order])
        for curve, order in ((a, np.argsort(a[0])), (b, np.argsort(b[0])))
    )
    return float(np.sqrt(np.mean((first - second) ** 2)) / np.mean((first + second) / 2))


def _apart(first: _Curve, second: _Curve) -> Estimate:
    """The relative distance of two curves with its bootstrap over seeds."""
    one, two = (curve.means(np.ones((1, len(curve.x)))) for curve in (first, second))
    value = _distance((one[0][0], one[1][0]), (two[0][0], two[1][0]))
    seeds = min(len(first.x), len(second.x))
    if seeds < 2:
        return bootstrapped(value, np.array([value]), seeds)
    (xa, ya), (xb, yb) = (curve.means(resamples(len(curve.x))) for curve in (first, second))
    draws = np.array([_distance((xa[i], ya[i]), (xb[i], yb[i])) for i in range(0, len(xa), 4)])
    return bootstrapped(value, draws, seeds)


@claim(
    "A8",
    statement="With N > 2 NC1 is still linear in mem, and the curve does not depend on the noise model at low to "
    "middle noise",
    bar="A3 for every N > 2 and noise model; relative RMS distance of the curves of two noise models over the mem they "
    "share, at effective rate <= .2: < .2",
    published="roughly independent of the noise model (MD, appendix)",
    method="t interval with the bootstrap's standard error, over seeds, all eta of a seed together",
    aggregation="each setting with N > 2, each loss of CE and LS, each pair of noise models; the worst decides",
    minimum="2 noise models at 2 effective rates in (0, .2], 3 eta above 0, 2 seeds",
    needs=(
        "loss",
        "rate",
        "effective_rate",
        "seed",
        "nc1_test",
        "norm_cv",
        "num_classes",
        "noise",
        RAW,
        RELATIVE,
        "collapsed",
    ),
)
def _a8(results: Results) -> Finding:
    runs = read(results)
    runs = runs.only(np.asarray(runs.final["num_classes"] > 2))
    if not len(runs.final):
        raise NotTested("no run with more than two classes")
    linear: list[Check] = []
    apart: list[Check] = []
    rows: list[Row] = []
    keys: set[str] = set()
    for cell in cells(runs):
        for loss in ("CE", "LS"):
            decisive, others, used = linear_checks(replace(cell, decides=True), loss)
            linear, rows, keys = linear + decisive, rows + others, keys | set(used)
    for family in cells(runs, apart_from=("noise",)):
        for loss in ("CE", "LS"):
            apart += _pairs(family, loss)
    if not linear:
        raise NotTested("no setting with N > 2 and CE or LS at 3 rates above 0")
    lacking = "" if apart else "no two noise models overlap in mem at effective rate <= .2"
    return conclude([*linear, *apart], runs=len(keys), notes=runs.notes, rows=rows, lacking=lacking)


def _pairs(family: Cell, loss: str) -> list[Check]:
    found = {noise: _Curve.of(final) for (noise,), final in family.loss(loss).final.groups("noise")}
    curves = {noise: curve for noise, curve in found.items() if curve is not None}
    checks = []
    for first, second in itertools.combinations(curves, 2):
        distance = _apart(curves[first], curves[second])
        if np.isfinite(distance.value):
            name = f"{family.name} {loss}, {first} against {second}"
            checks.append(Check(name, "relative distance of the curves", distance, at_most(CLOSE)))
    return checks
