"""A5, A5r: at equal noise, label smoothing memorizes less than cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

from byrote.analysis import BELOW_ZERO, Analysis
from byrote.claims.cells import Cell, cells, only
from byrote.claims.gathering import BEGUN, Gathered, memorizes
from byrote.claims.verdict import Finding, claim, needed

__all__ = ["papers_width"]

_NEEDS = ("clean_accuracy", "corrupted_as_observed", "realised_rate")
_METHOD = "t interval over seeds of LS - CE, paired by seed and eta, each seed's difference averaged over eta"
_CELLS = "each setting with N = 2 and M = N; rows by eta"
_MINIMUM = "3 seeds that share an eta under CE and LS"
_PREMISE = "CE reaches a clean accuracy of .98 and m >= .5 at that eta; other eta are left out"


def papers_width(candidates: Sequence[Cell]) -> list[Cell]:
    """The cells with MD's own sizes: two classes, and a feature width equal to the number of classes."""
    own = only(list(candidates), num_classes=2, feature_width=2)
    return needed(own, "no run with N = 2 classes and feature width M = 2")


def _memorizes_less(analysis: Analysis, column: str) -> Finding:
    gathered = Gathered(analysis)
    what, left_out = f"{column} LS - CE", 0
    for cell in papers_width(cells(analysis)):
        unmet = {rate: memorizes(cell, rate, BEGUN) for rate in cell.rates("LS", "CE")}
        if not unmet:
            continue
        trained = [rate for rate, why in unmet.items() if not why]
        left_out += len(unmet) - len(trained) if cell.decides else 0
        rates, why = (trained, "") if trained else (list(unmet), next(iter(unmet.values())))
        pair = (cell.at("LS", *rates), cell.at("CE", *rates))
        gathered.difference(cell, what, *pair, column, BELOW_ZERO, unmet=why)
        for rate, reason in unmet.items():
            pair = (cell.at("LS", rate), cell.at("CE", rate))
            facts = {"rate": rate}
            gathered.difference(
                cell, what, *pair, column, BELOW_ZERO, at=f"eta {rate:g}", unmet=reason, facts=facts, shown=True
            )
    note = f"eta left out where CE does not memorize: {left_out}" if left_out else ""
    return gathered.finding("no setting with both LS and CE at one eta > 0", notes=[note])


@claim(
    "A5",
    statement="At equal eta, LS memorizes less than CE (raw)",
    bar="difference of mem LS - CE below 0",
    published="yes, in all four datasets (MD Fig. 1)",
    method=_METHOD,
    cells=_CELLS,
    minimum=_MINIMUM,
    premise=_PREMISE,
    needs=(*_NEEDS, "mem_mean"),
)
def _a5(analysis: Analysis) -> Finding:
    return _memorizes_less(analysis, "mem_mean")


@claim(
    "A5r",
    statement="At equal eta, LS memorizes less than CE, relative to the distance D of the class means",
    bar="difference of relative mem LS - CE below 0",
    published="not measured",
    method=_METHOD,
    cells=_CELLS,
    minimum=_MINIMUM,
    premise=_PREMISE,
    needs=(*_NEEDS, "mem_relative"),
)
def _a5r(analysis: Analysis) -> Finding:
    return _memorizes_less(analysis, "mem_relative")
