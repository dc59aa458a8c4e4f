"""A10: training has converged, so that the last epoch shows the final state."""

from __future__ import annotations

import numpy as np

from byrote.analysis import Analysis, Sample, at_most, mean_over_seeds, within
from byrote.claims.cells import Cell, Group, cells
from byrote.claims.gathering import Gathered
from byrote.claims.verdict import Finding, claim, needed

__all__ = ["DOUBLED"]

_FLOOR = {
    "j1": 0.002,
    "mem_mean": 0.01,
    "nc1_test": 0.01,
}  # negligible changes; those of mem and NC1 are relative
LEAST = 0.01  # the least standard error, in seed spreads, because J1 may not change at all
DOUBLED = 2.0  # the largest change of means when training is doubled, in seed spreads (the range of 95% of runs)
_LENGTH = ("training.epochs", "training.schedule", "training.evaluate_every")


def _spread(group: Group, column: str) -> float:
    """The seed spread: the standard deviation of the last value over seeds, but no less than a negligible change."""
    values = group[column]
    floor = _FLOOR[column] * (1.0 if column == "j1" else abs(float(np.nanmean(values))))
    return max(float(np.nanstd(values, ddof=1)), floor, 1e-12)


def _drift(group: Group, column: str) -> np.ndarray:
    """The change of a column in each run over the last quarter of the epochs; NaN without two evaluations in it."""
    analysis = group.analysis
    epochs, values = analysis.history["epoch"], np.asarray(analysis.history[column], dtype=np.float64)
    changes = np.full(len(group), np.nan)
    for place, run in enumerate(group.rows.tolist()):
        rows = analysis.epochs(run)
        own = epochs[rows]
        first = int(np.argmax(own >= 0.75 * own[-1]))
        if first < len(own) - 1:
            changes[place] = values[rows][-1] - values[rows][first]
    return changes


def _movement(cell: Cell, column: str) -> Sample:
    """The mean size of the drift over the losses and eta of a cell, in seed spreads, one value per seed."""
    sizes: list[float] = []
    seeds: list[int] = []
    for loss in cell.losses:
        for rate in (0.0, *cell.rates(loss)):
            group = cell.at(loss, rate)
            if len(group) < 2 or not np.isfinite(group[column]).all():
                continue
            sizes += (np.abs(_drift(group, column)) / _spread(group, column)).tolist()
            seeds += group.seeds
    return mean_over_seeds(np.array(sizes), seeds)


@claim(
    "A10",
    statement="Training has converged",
    bar="size of the drift of J1, mem and NC1 over the last quarter of the epochs: at most one seed spread; for one "
    "cell rerun with every stage doubled: at most two",
    published="the last 50 of 200 epochs made no significant change",
    method="t interval over seeds, in seed spreads (at least .002 of J1, 1% of mem and NC1), its standard error at "
    "least .01; the doubled cell paired by seed",
    cells="the mean over the losses and eta that have 2 seeds, of each measure in each setting; every measure of each "
    "doubled cell",
    minimum="3 seeds, two evaluations in the last quarter, and a cell rerun with all stages doubled",
    needs=tuple(_FLOOR),
)
def _a10(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in cells(analysis):
        for column in _FLOOR:
            gathered.sample(
                cell,
                f"drift of {column} in seed spreads",
                _movement(cell, column),
                at_most(1),
                floor=LEAST,
                used=(cell.all,),
            )
    why = "no cell with 2 seeds and two evaluations in the last quarter of the epochs"
    drifts = len(needed(gathered.checks, why))
    for family in cells(analysis, vary=_LENGTH):
        _add_doubled(gathered, family)
    lacking = "" if len(gathered.checks) > drifts else "no cell was rerun with every stage doubled"
    return gathered.finding("no cell with 2 seeds", lacking=lacking)


def _add_doubled(gathered: Gathered, family: Cell) -> None:
    """Add a check of the change in seed spreads between each training length and its double, if both were run."""
    by_epochs = family.by("training.epochs")
    for epochs, once in by_epochs.items():
        twice = by_epochs.get(2 * epochs) if isinstance(epochs, int) else None
        for loss in once.losses if twice is not None else ():
            for rate in (0.0, *once.rates(loss)):
                single, double = once.at(loss, rate), twice.at(loss, rate) if twice is not None else once.at(loss, rate)
                for column in _FLOOR:
                    _add_change(gathered, family, f"{loss} eta {rate:g}", single, double, column)


def _add_change(gathered: Gathered, family: Cell, at: str, single: Group, double: Group, column: str) -> None:
    if len(single) < 2 or not len(double) or not np.isfinite(single[column]).all():
        return
    unit, difference = _spread(single, column), double.minus(single, column)
    units = Sample(difference.values / unit, difference.seeds, whole=difference.whole / unit)
    what = f"change of {column} when doubled, in seed spreads"
    gathered.sample(family, what, units, within(-DOUBLED, DOUBLED), at=at, floor=LEAST, used=(single, double))
