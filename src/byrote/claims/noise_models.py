"""A8: with more than two classes NC1 is still linear in mem, and its curve does not depend on the noise model."""

from __future__ import annotations

import itertools
import math

import numpy as np

from byrote.analysis import Analysis, at_most
from byrote.claims.cells import Cell, Group, cells
from byrote.claims.gathering import Gathered
from byrote.claims.slopes import RAW, RELATIVE, add_linear
from byrote.claims.verdict import Finding, claim, needed

__all__ = ["CLOSE", "LOW_TO_MIDDLE"]

LOW_TO_MIDDLE, CLOSE = 0.2, 0.2


@claim(
    "A8",
    statement="With N > 2 NC1 is still linear in mem, and the curve does not depend on the noise model at low to "
    "middle noise",
    bar="A3 for every N > 2 and noise model; relative RMS distance of the curves of two noise models over the mem they "
    "share, at effective rate <= .2: at most .2",
    published="roughly independent of the noise model (MD, appendix)",
    method="t interval over jackknife pseudo-values of the seeds, all eta of a seed together, of the logarithm",
    cells="each setting with N > 2, each loss of CE and LS, each pair of noise models",
    minimum="2 noise models at 2 effective rates in (0, .2], 3 eta above 0, 3 seeds",
    needs=("effective_rate", "nc1_test", "class_distance", RAW, RELATIVE),
)
def _a8(analysis: Analysis) -> Finding:
    many = [cell for cell in cells(analysis) if analysis.runs["num_classes"][cell.rows[0]] > 2]
    gathered = Gathered(analysis)
    for cell in needed(many, "no run with more than two classes"):
        for loss in ("CE", "LS"):
            add_linear(gathered, cell, loss)
    linear = len(needed(gathered.checks, "no setting with N > 2 and CE or LS at 3 rates above 0"))
    for family in cells(analysis, vary=("noise",)):
        if analysis.runs["num_classes"][family.rows[0]] > 2:
            for loss in ("CE", "LS"):
                _add_pairs(gathered, family, loss)
    lacking = "" if len(gathered.checks) > linear else "no two noise models overlap in mem at effective rate <= .2"
    return gathered.finding("no setting with N > 2", lacking=lacking)


def _low(group: Group) -> Group:
    """The runs at an effective rate in (0, .2]."""
    rates = group["effective_rate"]
    return group.where((rates > 0) & (rates <= LOW_TO_MIDDLE + 1e-9) & np.isfinite(group["nc1_test"]))


def _add_pairs(gathered: Gathered, family: Cell, loss: str) -> None:
    groups = {str(law): _low(cell.at(loss)) for law, cell in family.by("noise.kind").items()}
    groups = {law: group for law, group in groups.items() if len(set(group.rates)) >= 2}
    for first, second in itertools.combinations(groups, 2):
        pair = (groups[first], groups[second])
        apart = pair[0].points(RAW, "nc1_test").log_distance(pair[1].points(RAW, "nc1_test"))
        name, bar = f"{loss}, {first} against {second}", at_most(math.log(CLOSE))
        if np.isfinite(apart.whole):
            gathered.sample(family, "relative distance of the curves", apart, bar, at=name, used=pair)
