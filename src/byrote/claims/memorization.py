"""A5, A5r: at equal noise, label smoothing memorises less than cross-entropy."""

from __future__ import annotations

import numpy as np

from byrote.claims.cells import Cell, Runs, cells, paired, read, under_trained
from byrote.claims.decide import BELOW_ZERO, Check, conclude
from byrote.claims.geometry import MODES
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results

__all__ = ["papers_width"]

_NEEDS = ("loss", "rate", "seed", "j1", "feature_width", "num_classes", "norm_cv", "collapsed")
_METHOD = "paired t over seeds of LS - CE, each seed's difference averaged over eta"
_AGGREGATION = "each setting with N = 2 and M = N; the worst setting decides"
_MINIMUM = "2 seeds that share an eta under CE and LS"
_PREMISE = "CE reaches J1 >= .98 at that eta; other eta are left out"


def papers_width(runs: Runs) -> Runs:
    """MD's own case: two classes and a feature width equal to their number."""
    own = (runs.final["num_classes"] == 2) & (runs.final["feature_width"] == 2)
    if not own.any():
        raise NotTested("no run with N = 2 classes and feature width M = 2")
    return runs.only(np.asarray(own))


def _less_memorised(results: Results, column: str) -> Finding:
    runs = papers_width(read(results))
    checks: list[Check] = []
    rows: list[Row] = []
    used: set[str] = set()
    for cell in cells(runs):
        rates = cell.rates("LS", "CE")
        if not rates:
            continue
        unmet = {rate: under_trained(cell, rate) for rate in rates}
        trained = [rate for rate in rates if not unmet[rate]]
        ls, ce = (cell.loss(loss).final.where(rate=tuple(trained or rates)) for loss in ("LS", "CE"))
        used |= {*ls["key"], *ce["key"]}
        note = "" if trained else unmet[rates[0]]
        difference, what = paired(ls, ce, column), f"{column} LS - CE"
        checks.append(Check(cell.name, what, difference, BELOW_ZERO, unmet=note, decides=cell.decides))
        for rate in rates:
            one = paired(ls.where(rate=rate), ce.where(rate=rate), column)
            check = Check(cell.name, what, one, BELOW_ZERO, unmet=unmet[rate], decides=cell.decides)
            rows.append(check.row() | {"rate": rate})
        rows += _by_mode(cell, column, trained)
    if not checks:
        raise NotTested("no setting with both LS and CE at one eta > 0")
    left_out = sum(row["reason"] != "" and "variation" not in row for row in rows)
    note = f"cells left out as under-trained: {left_out}" if left_out and any(not c.unmet for c in checks) else ""
    return conclude(checks, runs=len(used), notes=[note, *runs.notes], rows=rows)


def _by_mode(cell: Cell, column: str, rates: list[float]) -> list[Row]:
    """The difference among pairs of runs that both have, or both lack, a class at zero."""
    rows: list[Row] = []
    for mode, holds in MODES.items():
        ls, ce = (cell.loss(loss).final.where(rate=tuple(rates), norm_cv=holds) for loss in ("LS", "CE"))
        difference = paired(ls, ce, column)
        if difference.n:
            check = Check(cell.name, f"{column} LS - CE", difference, BELOW_ZERO, decides=cell.decides)
            rows.append(check.row() | {"mode": mode})
    return rows


@claim(
    "A5",
    statement="At equal eta, LS memorises less than CE (raw)",
    bar="difference of mem LS - CE: interval below 0 holds, above 0 fails",
    published="yes, in all four datasets (MD Fig. 1)",
    method=_METHOD,
    aggregation=_AGGREGATION,
    minimum=_MINIMUM,
    premise=_PREMISE,
    needs=(*_NEEDS, "mem_mean"),
)
def _a5(results: Results) -> Finding:
    return _less_memorised(results, "mem_mean")


@claim(
    "A5r",
    statement="At equal eta, LS memorises less than CE, relative to the distance D of the class means",
    bar="difference of relative mem LS - CE: interval below 0 holds, above 0 fails",
    published="not measured",
    method=_METHOD,
    aggregation=_AGGREGATION,
    minimum=_MINIMUM,
    premise=_PREMISE,
    needs=(*_NEEDS, "mem_relative"),
)
def _a5r(results: Results) -> Finding:
    return _less_memorised(results, "mem_relative")
