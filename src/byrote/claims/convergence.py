"""A10: training has converged, so that what is read off the last epoch is where it ends."""

from __future__ import annotations

import math

import numpy as np

from byrote.claims.cells import SETTING, Runs, cells, doubled, paired, read
from byrote.claims.decide import Check, conclude, within
from byrote.claims.statistics import Estimate, mean_over_seeds, t_quantile
from byrote.claims.verdict import Finding, NotTested, claim
from byrote.store import Results
from byrote.store.table import Table

__all__: list[str] = []

_FLOOR = {"j1": 0.002, "mem_mean": 0.01, "nc1_test": 0.01}  # what counts as no movement; mem, NC1: of the value
_DOUBLED = 2.0  # seed spreads within which the means of the doubled cell must lie: the range of 95% of runs


def _spread(final: Table, column: str) -> float:
    """The standard deviation over seeds of the final value, not below what counts as no movement."""
    values = final[column].astype(np.float64)
    floor = _FLOOR[column] * (1.0 if column == "j1" else abs(float(np.nanmean(values))))
    return max(float(np.nanstd(values, ddof=1)), floor, 1e-12)


def _drift(runs: Runs, column: str) -> Estimate:
    """The mean over seeds of the change of a column between three quarters of the epochs and the last."""
    changes = []
    for _, run in runs.history.groups("key"):
        last = int(np.argmax(run["epoch"]))
        late = run["epoch"] >= 0.75 * run["epoch"][last]
        first = int(np.flatnonzero(late)[np.argmin(run["epoch"][late])])
        if first != last:
            changes.append(float(run[column][last] - run[column][first]))
    return mean_over_seeds(np.array(changes))


def _agrees(twice: Table, once: Table, column: str) -> Estimate:
    """Doubled minus single: paired over seeds, or one doubled run against the spread of the single ones."""
    difference = paired(twice, once, column)
    n = len(once)
    if len(twice) == 1 and n > 1:
        value = float(twice[column][0] - np.mean(once[column]))
        half = float(t_quantile(n)) * float(np.std(once[column], ddof=1)) * math.sqrt(1 + 1 / n)
        return Estimate(value, value - half, value + half, 1)
    return difference


def _columns(final: Table) -> list[str]:
    return [column for column in _FLOOR if np.isfinite(final[column].astype(np.float64)).all()]


@claim(
    "A10",
    statement="Training has converged",
    bar="drift over the last quarter of the epochs of J1, mem and NC1 within one seed spread; one cell rerun with "
    "every stage doubled within two",
    published="the last 50 of 200 epochs made no significant change",
    method="t interval over seeds of the drift, in seed spreads (at least .002 of J1, 1% of mem and NC1); the "
    "doubled cell by a paired t over seeds, or, of one doubled run, a prediction interval",
    aggregation="each setting, loss and eta with 2 seeds or more, each measure; the worst decides",
    minimum="2 seeds, two evaluations in the last quarter, and a cell rerun with all stages doubled",
    needs=("loss", "rate", "seed", "epochs", *_FLOOR, "collapsed"),
)
def _a10(results: Results) -> Finding:
    runs = read(results, with_doubled=True)
    again = doubled(runs.final)
    single, twice = runs.only(~again), runs.only(again)
    drifts: list[Check] = []
    for cell in cells(single):
        for (loss, rate), final in cell.runs.final.groups("loss", "rate"):
            if len(final) < 2:
                continue
            part = cell.runs.only(np.isin(cell.runs.final["run"], final["run"]))
            for column in _columns(final):
                drift = _drift(part, column)
                if drift.n:
                    name = f"{cell.name} {loss} eta {rate:g}"
                    spread = _spread(final, column)
                    drifts.append(Check(name, f"drift of {column}", drift.over(spread), within(-1, 1)))
    if not drifts:
        raise NotTested("no cell with 2 seeds and two evaluations in the last quarter of the epochs")
    drifts = [_renamed(check) for check in drifts]
    agreement = _doubled_checks(single, twice)
    lacking = "" if agreement else "no cell was rerun with every stage doubled"
    return conclude([*drifts, *agreement], runs=runs.final.runs, notes=runs.notes, lacking=lacking)


def _renamed(check: Check) -> Check:
    """All drifts are one statistic, in seed spreads; which measure it was is told by the cell."""
    measure = check.what.removeprefix("drift of ")
    return Check(f"{check.cell}, {measure}", "drift in seed spreads", check.estimate, check.region)


def _doubled_checks(single: Runs, twice: Runs) -> list[Check]:
    same = [name for name in (*SETTING, "loss", "alpha", "rate") if name in single.final]
    same = [name for name in same if name not in ("epochs", "schedule")]
    checks: list[Check] = []
    for values, rerun in twice.final.groups(*same):
        once = single.final.where(**dict(zip(same, values, strict=True)))
        once = once.where(epochs=rerun["epochs"][0] // 2)
        for column in _columns(once):
            if len(once) > 1:
                units = _agrees(rerun, once, column).over(_spread(once, column))
                name = f"{rerun['loss'][0]} eta {rerun['rate'][0]:g} doubled, {column}"
                checks.append(Check(name, "change in seed spreads", units, within(-_DOUBLED, _DOUBLED)))
    return checks
