"""A10: training has converged, so that what is read off the last epoch is where it ends."""

from __future__ import annotations

import math

import numpy as np

from byrote.claims.cells import SETTING, Cell, Runs, cells, doubled, paired, read
from byrote.claims.decide import Check, at_most, conclude, within
from byrote.claims.statistics import Estimate, mean_over_seeds, t_quantile
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results
from byrote.table import Table

__all__ = ["DOUBLED"]

_FLOOR = {"j1": 0.002, "mem_mean": 0.01, "nc1_test": 0.01}  # what counts as no movement; mem, NC1: of the value
DOUBLED = 2.0  # seed spreads within which the means of the doubled cell must lie: the range of 95% of runs


def _spread(final: Table, column: str) -> float:
    """The standard deviation over seeds of the final value, not below what counts as no movement."""
    values = final[column].astype(np.float64)
    floor = _FLOOR[column] * (1.0 if column == "j1" else abs(float(np.nanmean(values))))
    return max(float(np.nanstd(values, ddof=1)), floor, 1e-12)


def _drifts(runs: Runs, column: str) -> dict[int, float]:
    """Of each seed, the change of a column between three quarters of the epochs and the last."""
    changes: dict[int, float] = {}
    for (seed,), run in runs.history.groups("seed"):
        last = int(np.argmax(run["epoch"]))
        late = run["epoch"] >= 0.75 * run["epoch"][last]
        first = int(np.flatnonzero(late)[np.argmin(run["epoch"][late])])
        if first != last:
            changes[int(seed)] = float(run[column][last] - run[column][first])
    return changes


def _movement(cell: Cell, column: str) -> tuple[Estimate, list[Row]]:
    """The mean over seeds of |drift| in seed spreads, each seed's averaged over loss and eta; a row each of these."""
    by_seed: dict[int, list[float]] = {}
    rows: list[Row] = []
    for (loss, rate), final in cell.runs.final.groups("loss", "rate"):
        if len(final) < 2 or not np.isfinite(final[column].astype(np.float64)).all():
            continue
        spread = _spread(final, column)
        drifts = _drifts(cell.loss(loss).where(rate=rate), column)
        for seed, drift in drifts.items():
            by_seed.setdefault(seed, []).append(abs(drift) / spread)
        mean = mean_over_seeds(np.array(list(drifts.values()))).over(spread)
        what = f"mean drift of {column} in seed spreads"
        rows.append(Check(cell.name, what, mean, within(-1, 1)).row() | {"loss": loss, "rate": rate})
    return mean_over_seeds(np.array([np.mean(one) for one in by_seed.values()])), rows


def _agrees(twice: Table, once: Table, column: str) -> Estimate:
    """Doubled minus single: paired over seeds, or one doubled run against the spread of the single ones."""
    difference = paired(twice, once, column)
    n = len(once)
    if len(twice) == 1 and n > 1:
        value = float(twice[column][0] - np.mean(once[column]))
        half = float(t_quantile(n)) * float(np.std(once[column], ddof=1)) * math.sqrt(1 + 1 / n)
        return Estimate(value, value - half, value + half, 1)
    return difference


@claim(
    "A10",
    statement="Training has converged",
    bar="size of the drift of J1, mem and NC1 over the last quarter of the epochs: at most one seed spread; one cell "
    "rerun with every stage doubled: within two",
    published="the last 50 of 200 epochs made no significant change",
    method="t interval over seeds, in seed spreads (at least .002 of J1, 1% of mem and NC1); the doubled cell by a "
    "paired t over seeds or, of one doubled run, a prediction interval",
    aggregation="the mean over the losses and eta that have 2 seeds, of each measure in each setting; the worst "
    "decides, with every measure of the doubled cell",
    minimum="2 seeds, two evaluations in the last quarter, and a cell rerun with all stages doubled",
    needs=("loss", "rate", "seed", "epochs", *_FLOOR, "collapsed"),
)
def _a10(results: Results) -> Finding:
    runs = read(results, with_doubled=True)
    again = doubled(runs.final)
    single, twice = runs.only(~again), runs.only(again)
    drifts: list[Check] = []
    rows: list[Row] = []
    for cell in cells(single):
        for column in _FLOOR:
            drift, more = _movement(cell, column)
            if drift.n:
                drifts.append(Check(f"{cell.name}, {column}", "drift in seed spreads", drift, at_most(1)))
                rows += more
    if not drifts:
        raise NotTested("no cell with 2 seeds and two evaluations in the last quarter of the epochs")
    agreement = _doubled_checks(single, twice)
    lacking = "" if agreement else "no cell was rerun with every stage doubled"
    return conclude([*drifts, *agreement], runs=runs.final.runs, notes=runs.notes, rows=rows, lacking=lacking)


def _doubled_checks(single: Runs, twice: Runs) -> list[Check]:
    same = [name for name in (*SETTING, "loss", "alpha", "rate") if name in single.final]
    same = [name for name in same if name not in ("epochs", "schedule")]
    checks: list[Check] = []
    for values, rerun in twice.final.groups(*same):
        once = single.final.where(**dict(zip(same, values, strict=True)))
        once = once.where(epochs=rerun["epochs"][0] // 2)
        for column in _FLOOR:
            if len(once) > 1 and np.isfinite(once[column].astype(np.float64)).all():
                units = _agrees(rerun, once, column).over(_spread(once, column))
                name = f"{rerun['loss'][0]} eta {rerun['rate'][0]:g} doubled, {column}"
                checks.append(Check(name, "change in seed spreads", units, within(-DOUBLED, DOUBLED)))
    return checks
