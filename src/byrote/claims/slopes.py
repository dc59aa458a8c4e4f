"""A3, A4, A7, A13, A15: test NC1 is linear in memorization; what does the slope depend on?"""

from __future__ import annotations

import math

import numpy as np

from byrote.analysis import ABOVE_ZERO, BELOW_ZERO, Analysis, Points, at_least, at_most, within
from byrote.claims.cells import Cell, Group, cells, only
from byrote.claims.gathering import Gathered
from byrote.claims.memorization import papers_width
from byrote.claims.verdict import Finding, Row, claim

__all__ = ["LINEAR", "RAW", "RELATIVE", "SAME_SLOPE", "add_linear", "line"]

RAW, RELATIVE = "mem_noise_weighted", "mem_noise_weighted_relative"
SAME_SLOPE = within(math.log(0.8), math.log(1.25))
LINEAR = at_most(
    math.log(0.2)
)  # the largest 1 - R^2 (so R^2 >= .8); it is shown but does not decide, see docs/verdicts.md
_FEWEST_RATES = 3
_NEEDS = ("effective_rate", "nc1_test", "class_distance", RAW, RELATIVE)
_JACKKNIFE = "t interval over jackknife pseudo-values of the seeds, all eta of a seed together"
_WIDEST = "slope, widest over narrowest, CE"
_NO_LINE = f"no setting with N = 2 and M = N and with CE or LS at {_FEWEST_RATES} eta above 0"


def line(group: Group, x: str = RAW, y: str = "nc1_test") -> Points | None:
    """The points of two readings at rates above 0, to which a line can be fitted; None for fewer than three rates."""
    points = group.noisy().points(x, y)
    return points if len(points.etas) >= _FEWEST_RATES else None


def add_linear(gathered: Gathered, cell: Cell, loss: str, at: str = "") -> None:
    """Add claim A3 in one cell under one loss: a check that decides, and rows for the other readings."""
    group = cell.at(loss).noisy()
    mem, rate = line(group), line(group, "effective_rate")
    if mem is None or rate is None:
        return
    same: Row = {"at": " ".join(filter(None, [at, loss])), "used": (group,)}
    gathered.sample(cell, "error of unseen eta, mem over rate", mem.log_error_ratio(rate), BELOW_ZERO, **same)
    control = group.points(1 / group["class_distance"] ** 2, "nc1_test")
    against = group.points(RELATIVE, "nc1_test").log_error_ratio(control)
    gathered.sample(cell, "error of unseen eta, mem / D over 1/D^2 alone", against, BELOW_ZERO, shown=True, **same)
    gathered.sample(cell, "1 - R^2 of NC1 on mem", mem.log_unexplained(), LINEAR, shown=True, **same)
    for x, root in ((RAW, False), (RELATIVE, False), (RAW, True), (RELATIVE, True)):
        points = group.points(x, np.sqrt(group["nc1_test"]) if root else "nc1_test")
        name = f"R^2 of {'sqrt ' if root else ''}NC1 on {x}"
        gathered.sample(cell, name, points.r_squared(), at_least(0.8), shown=True, **same)
    gathered.sample(cell, "R^2 of NC1 on 1/D^2 alone", control.r_squared(), at_least(0.8), shown=True, **same)


@claim(
    "A3",
    statement="For CE and LS, NC1 on test data is linear in memorization",
    bar="the error of the line at an eta left out is below that of a line in the effective rate. R^2 of at least .8 is "
    "shown beside it and does not decide",
    published="approximately linear while mem is not large (MD Fig. 1)",
    method=_JACKKNIFE + ", of the logarithm",
    cells="each setting with N = 2 and M = N, and each loss. Raw mem (the sum over corrupted samples divided by the "
    "number of training samples) and NC1 decide; relative mem, sqrt(NC1), R^2 and the control 1/D^2 are rows. The "
    "interval of R^2 covers the true value too seldom to decide (`benchmarks/verdicts.py`)",
    minimum="3 eta above 0 and 3 seeds",
    needs=_NEEDS,
)
def _a3(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in papers_width(cells(analysis)):
        for loss in ("CE", "LS"):
            add_linear(gathered, cell, loss)
    return gathered.finding(_NO_LINE)


def _add_ratio(
    gathered: Gathered, cell: Cell, what: str, pair: tuple[Group, Group], at: str = "", *, outside: bool = False,
    shown: bool = False, x: str = RAW,
) -> None:  # fmt: skip
    """Check the ratio of two slopes, paired by seed and eta, against [.8, 1.25]."""
    mine, theirs = (line(group, x) for group in pair)
    if mine is None or theirs is None:
        return
    shared = mine.shared_with(theirs)[0]
    if len(shared.etas) >= _FEWEST_RATES:
        ratio = mine.log_slope_ratio(theirs)
        gathered.sample(cell, what, ratio, SAME_SLOPE, at=at, outside=outside, used=pair, shown=shown)


@claim(
    "A4",
    statement="CE and LS share one slope of NC1 on mem; MSE and LR do not",
    bar="ratio of slopes LS/CE inside [.8, 1.25]; MSE/CE and LR/CE outside",
    published="CE and LS share the slope, MSE and LR differ (MD Fig. 1)",
    method=_JACKKNIFE + ", of the log ratio, paired by seed and eta",
    cells="each setting with N = 2 and M = N. Raw mem decides; relative mem is given in rows",
    minimum="3 eta above 0 and 3 seeds that CE shares with LS, and with MSE or LR",
    needs=_NEEDS,
)
def _a4(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    others = False
    for cell in papers_width(cells(analysis)):
        for loss in ("LS", "MSE", "LR"):
            pair = (cell.at(loss), cell.at("CE"))
            before = len(gathered.checks)
            _add_ratio(gathered, cell, f"slope {loss}/CE", pair, outside=loss != "LS")
            others |= loss != "LS" and len(gathered.checks) > before
            _add_ratio(gathered, cell, f"relative slope {loss}/CE", pair, outside=loss != "LS", shown=True, x=RELATIVE)
    lacking = "" if others else "neither MSE nor LR was run at 3 rates, so that their part is open"
    why = f"no setting with CE and LS at {_FEWEST_RATES} rates above 0"
    return gathered.finding(why, kinds=("slope LS/CE",), lacking=lacking)


@claim(
    "A7",
    statement="The linear trend persists as the feature width M varies",
    bar="A3 at each M",
    published="similar trends (MD Fig. 2)",
    method=_JACKKNIFE + ", of the logarithm",
    cells="each setting with N = 2 that was run at two widths M, at every M, and each loss. Ratios of slopes between M "
    "are given in rows",
    minimum="2 values of M, 3 eta above 0 and 3 seeds",
    needs=_NEEDS,
)
def _a7(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for family in only(cells(analysis, vary=("network.feature_width",)), num_classes=2):
        for loss in ("CE", "LS"):
            by_width = {width: cell.at(loss) for width, cell in family.by("network.feature_width").items()}
            by_width = {width: group for width, group in by_width.items() if line(group) is not None}
            if len(by_width) < 2:
                continue
            first = next(iter(by_width))
            for width, cell in family.by("network.feature_width").items():
                if width in by_width:
                    add_linear(gathered, cell, loss, at=f"M = {width}")
                if width in by_width and width != first:
                    what, pair = f"slope at M = {width} over M = {first}", (by_width[width], by_width[first])
                    _add_ratio(gathered, family, what, pair, loss, shown=True)
    return gathered.finding("no setting with N = 2 and two feature widths M at 3 rates")


@claim(
    "A13",
    statement="The slope of NC1 on mem depends on the network's expressivity, not on the loss",
    bar="slope at the largest width over the smallest outside [.8, 1.25]; LS/CE at each width inside",
    published="suggested, not measured",
    method=_JACKKNIFE + ", of the log ratio, paired by seed and eta",
    cells="each setting apart from its width",
    minimum="2 widths, 3 eta above 0 and 3 seeds under CE and LS",
    needs=_NEEDS,
)
def _a13(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for family in cells(analysis, vary=("network.width",)):
        by_width = {
            width: cell for width, cell in family.by("network.width").items() if line(cell.at("CE")) is not None
        }
        if len(by_width) < 2:
            continue
        widths = list(by_width)
        pair = (by_width[widths[-1]].at("CE"), by_width[widths[0]].at("CE"))
        _add_ratio(gathered, family, _WIDEST, pair, f"{widths[-1]}/{widths[0]}", outside=True)
        for width, cell in by_width.items():
            _add_ratio(gathered, family, "slope LS/CE", (cell.at("LS"), cell.at("CE")), f"width {width}")
    why = "no setting with CE at two widths, 3 rates above 0, and LS beside it"
    return gathered.finding(why, kinds=(_WIDEST, "slope LS/CE"))


@claim(
    "A15",
    statement="Memorization also dilates the clean training samples, with its own slope",
    bar="slope of log NC1 of clean training samples on mem above 0, and the ratio of the slope of their NC1 to that of "
    "the test samples outside [.8, 1.25]",
    published="expected, not measured",
    method=_JACKKNIFE + "; of the log ratio, paired by seed and eta",
    cells="each setting, under CE and LS",
    minimum="3 eta above 0 and 3 seeds",
    needs=(*_NEEDS, "nc1_train_clean"),
)
def _a15(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in cells(analysis):
        for loss in ("CE", "LS"):
            group = cell.at(loss).noisy()
            clean, test = line(group, y="nc1_train_clean"), line(group)
            if clean is None or test is None:
                continue
            rising = group.points(RAW, np.log(np.where(group["nc1_train_clean"] > 0, group["nc1_train_clean"], np.nan)))
            gathered.sample(
                cell, "slope of log NC1, clean training samples", rising.slope(), ABOVE_ZERO, at=loss, used=(group,)
            )
            what = "slope, clean training over test"
            gathered.sample(cell, what, clean.log_slope_ratio(test), SAME_SLOPE, at=loss, outside=True, used=(group,))
    return gathered.finding(f"no setting with CE or LS at {_FEWEST_RATES} rates above 0")
