"""A3, A4, A7, A13, A15: test collapse as a line in memorization, and whose slope it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from byrote.claims.cells import Cell, cells, read
from byrote.claims.decide import ABOVE_ZERO, BELOW_ZERO, Check, at_least, conclude, within
from byrote.claims.geometry import MODES
from byrote.claims.memorization import papers_width
from byrote.claims.statistics import Estimate, Fit, fit_line
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results
from byrote.table import Table

__all__ = ["RAW", "RELATIVE", "SAME_SLOPE", "line", "linear_checks"]

RAW, RELATIVE = "mem_noise_weighted", "mem_weighted_relative"
SAME_SLOPE = within(0.8, 1.25)
R2 = 0.8
_FEWEST_RATES = 3
_NEEDS = ("loss", "rate", "effective_rate", "seed", "nc1_test", "norm_cv", "collapsed", "num_classes")
_WIDTH = ("feature_width",)
_BOOTSTRAP = (
    "t interval with the bootstrap's standard error, over seeds, all eta of a seed together (4,000 draws, fixed seed)"
)


def line(final: Table, x: str, y: str = "nc1_test", root: bool = False) -> Fit | None:
    """The line of y (or its square root) on x over runs at eta > 0; None below three rates."""
    a, b = final[x].astype(np.float64), final[y].astype(np.float64)
    kept = np.isfinite(a) & np.isfinite(b) & (final["rate"] > 0)
    if len(np.unique(final["rate"][kept])) < _FEWEST_RATES:
        return None
    a, b = a[kept], np.sqrt(b[kept]) if root else b[kept]
    return fit_line(a, b, final["seed"][kept], final["rate"][kept])


def linear_checks(cell: Cell, loss: str) -> tuple[list[Check], list[Row], list[str]]:
    """A3 in one setting under one loss: the deciding checks, the other readings as rows, the keys used."""
    final = cell.loss(loss).final
    raw, rate = line(final, RAW), line(final, "effective_rate")
    if raw is None or rate is None:
        return [], [], []
    name = f"{cell.name} {loss}"
    checks = [
        Check(name, "R^2 of NC1 on mem", raw.r2_estimate(), at_least(R2), decides=cell.decides),
        Check(
            name,
            "log of the leave-one-eta-out error of mem over that of the rate",
            raw.error_against(rate),
            BELOW_ZERO,
            decides=cell.decides,
        ),
    ]
    rows: list[Row] = []
    for root in (False, True):
        by_rate = line(final, "effective_rate", root=True) if root else rate
        for x in (RAW, RELATIVE):
            fit = raw if (x, root) == (RAW, False) else line(final, x, root=root)
            if fit is not None and by_rate is not None:
                what = f"R^2 of {'sqrt ' if root else ''}NC1 on {x}"
                error = fit.error_against(by_rate).value
                row = Check(name, what, fit.r2_estimate(), at_least(R2), decides=cell.decides).row()
                rows.append(row | {"log_error_over_rate": error, "slope": fit.slope})
    return (
        checks,
        rows + (_by_mode(cell, loss) if cell.facts.get("num_classes") == 2 else []),
        final.where(rate=_positive)["key"].tolist(),
    )


def _positive(rate: NDArray[np.float64]) -> NDArray[np.bool_]:
    return rate > 0


def _by_mode(cell: Cell, loss: str) -> list[Row]:
    """R^2 and slope among the runs with one class at zero, and among the others (two classes only)."""
    rows: list[Row] = []
    for mode, holds in MODES.items():
        fit = line(cell.loss(loss).final.where(norm_cv=holds), RAW)
        if fit is not None:
            r2, what = fit.r2_estimate(), "R^2 of NC1 on mem"
            row = Check(f"{cell.name} {loss}", what, r2, at_least(R2), decides=cell.decides).row()
            rows.append(row | {"mode": mode, "slope": fit.slope, "runs": fit.runs})
    return rows


def _linear(some_cells: Sequence[Cell], notes: Sequence[str], extra: Sequence[Row] = ()) -> Finding:
    checks: list[Check] = []
    rows: list[Row] = []
    keys: set[str] = set()
    for cell in some_cells:
        for loss in ("CE", "LS"):
            decisive, others, used = linear_checks(cell, loss)
            checks, rows, keys = checks + decisive, rows + others, keys | set(used)
    if not checks:
        raise NotTested(f"no setting with CE or LS at {_FEWEST_RATES} rates above 0")
    return conclude(checks, runs=len(keys), notes=[_best(rows), *notes], rows=[*rows, *extra])


def _best(rows: Sequence[Row]) -> str:
    """Which of the four readings fits best on average."""
    kinds: dict[str, list[float]] = {}
    for row in rows:
        if "mode" not in row and ("variation" not in row or all("variation" in other for other in rows)):
            kinds.setdefault(row["what"], []).append(row["value"])
    best = max(kinds, key=lambda what: float(np.mean(kinds[what])))
    return f"best reading: {best}, {np.mean(kinds[best]):.3f} on average"


@claim(
    "A3",
    statement="For CE and LS, NC1 on test data is linear in memorization",
    bar="R^2 >= .8, and the leave-one-eta-out error of mem below that of the effective rate as the predictor",
    published="approximately linear while mem is not large (MD Fig. 1)",
    method=_BOOTSTRAP,
    aggregation="each setting with N = 2 and M = N, and each loss; the worst decides. Raw mem (the sum over corrupted "
    "samples by the number of training samples) and NC1 decide; relative mem and sqrt(NC1) are rows",
    minimum="3 eta above 0 and 2 seeds",
    needs=(*_NEEDS, *_WIDTH, RAW, RELATIVE),
)
def _a3(results: Results) -> Finding:
    runs = papers_width(read(results))
    return _linear(list(cells(runs)), runs.notes)


def _ratio(mine: Table, theirs: Table, x: str) -> Estimate | None:
    """The slope of one set of runs over that of another, on the seeds and eta they share."""
    for fact in ("seed", "rate"):
        shared = tuple(set(mine[fact].tolist()) & set(theirs[fact].tolist()))
        mine, theirs = mine.where(**{fact: shared}), theirs.where(**{fact: shared})
    above, below = line(mine, x), line(theirs, x)
    return None if above is None or below is None else above.ratio(below)


def _ratio_by_mode(mine: Table, theirs: Table, loss: str) -> list[tuple[Estimate, str, Row]]:
    """The ratio among runs with one class at zero, and among the others."""
    found: list[tuple[Estimate, str, Row]] = []
    for mode, holds in MODES.items():
        ratio = _ratio(mine.where(norm_cv=holds), theirs.where(norm_cv=holds), RAW)
        if ratio is not None:
            found.append((ratio, f"slope {loss}/CE", {"mode": mode}))
    return found


def _keys(cell: Cell, *losses: str) -> set[str]:
    return {key for loss in losses for key in cell.loss(loss).final.where(rate=_positive)["key"]}


@claim(
    "A4",
    statement="CE and LS share one slope of NC1 on mem; MSE and LR do not",
    bar="ratio of slopes LS/CE: interval inside [.8, 1.25] holds, outside fails; MSE/CE and LR/CE outside",
    published="CE and LS share the slope, MSE and LR differ (MD Fig. 1)",
    method=_BOOTSTRAP + ", paired by seed",
    aggregation="each setting with N = 2 and M = N; the worst decides. Raw mem decides; relative mem is given in rows",
    minimum="3 eta above 0 and 2 seeds that CE shares with LS, and with MSE or LR",
    needs=(*_NEEDS, *_WIDTH, RAW, RELATIVE),
)
def _a4(results: Results) -> Finding:
    runs = papers_width(read(results))
    same: list[Check] = []
    other: list[Check] = []
    rows: list[Row] = []
    keys: set[str] = set()
    for cell in cells(runs):
        for loss in ("LS", "MSE", "LR"):
            mine, ce = cell.loss(loss).final, cell.loss("CE").final
            raw, relative = _ratio(mine, ce, RAW), _ratio(mine, ce, RELATIVE)
            if raw is None or relative is None:
                continue
            keys |= _keys(cell, "CE", loss)
            slope, other_than = f"slope {loss}/CE", loss != "LS"
            check = Check(cell.name, slope, raw, SAME_SLOPE, outside=other_than, decides=cell.decides)
            (same if loss == "LS" else other).append(check)
            readings = [(relative, f"relative slope {loss}/CE", {}), *_ratio_by_mode(mine, ce, loss)]
            for ratio, what, facts in readings:
                check = Check(cell.name, what, ratio, SAME_SLOPE, other_than, facts=facts, decides=cell.decides)
                rows.append(check.row())
    if not same:
        raise NotTested(f"no setting with CE and LS at {_FEWEST_RATES} rates above 0")
    lacking = "" if other else "neither MSE nor LR was run at 3 rates, so that their part is open"
    return conclude([*same, *other], runs=len(keys), notes=runs.notes, rows=rows, lacking=lacking)


@claim(
    "A7",
    statement="The linear trend persists as the feature width M varies",
    bar="A3 at each M: R^2 >= .8, leave-one-eta-out error of mem below that of the rate",
    published="similar trends (MD Fig. 2)",
    method=_BOOTSTRAP,
    aggregation="each setting with N = 2 at every M, and each loss; the worst decides. Ratios of slopes between M "
    "are given in rows",
    minimum="2 values of M, 3 eta above 0 and 2 seeds",
    needs=(*_NEEDS, *_WIDTH, RAW, RELATIVE),
)
def _a7(results: Results) -> Finding:
    runs = read(results).where(num_classes=2)
    rows: list[Row] = []
    wanted: list[str] = []
    for family in cells(runs, apart_from=("feature_width",)):
        by_m = {m: part for (m,), part in family.runs.final.groups("feature_width")}
        fits = {(m, loss): line(part.where(loss=loss), RAW) for m, part in by_m.items() for loss in ("CE", "LS")}
        widths = sorted({m for (m, _), fit in fits.items() if fit is not None})
        if len(widths) < 2:
            continue
        wanted += [key for m in widths for key in by_m[m]["key"]]
        for loss in ("CE", "LS"):
            for m in widths[1:]:
                ratio = _ratio(by_m[m].where(loss=loss), by_m[widths[0]].where(loss=loss), RAW)
                if ratio is not None:
                    what = f"slope at M={m} over M={widths[0]}"
                    rows.append(Check(f"{family.name} {loss}", what, ratio, SAME_SLOPE).row())
    if not wanted:
        raise NotTested("no setting with two feature widths M at 3 rates above 0")
    chosen = runs.only(np.isin(runs.final["key"], wanted))
    return _linear([replace(cell, decides=True) for cell in cells(chosen)], runs.notes, rows)


@claim(
    "A13",
    statement="The slope of NC1 on mem is a matter of the network's expressivity, not of the loss",
    bar="slope at the largest width over the smallest: interval outside [.8, 1.25]; LS/CE at each width inside",
    published="suggested, not measured",
    method=_BOOTSTRAP,
    aggregation="each setting apart from its width; the worst decides",
    minimum="2 widths, 3 eta above 0 and 2 seeds under CE and LS",
    needs=(*_NEEDS, "width", RAW),
)
def _a13(results: Results) -> Finding:
    runs = read(results)
    of_width: list[Check] = []
    of_loss: list[Check] = []
    keys: set[str] = set()
    for family in cells(runs, apart_from=("width",)):
        ce = {width: part.where(loss="CE") for (width,), part in family.runs.final.groups("width")}
        widths = [width for width, part in ce.items() if len(part) and line(part, RAW) is not None]
        wider = _ratio(ce[widths[-1]], ce[widths[0]], RAW) if len(widths) > 1 else None
        if wider is None:
            continue
        what = f"slope at width {widths[-1]:g} over width {widths[0]:g}, CE"
        of_width.append(Check(family.name, what, wider, SAME_SLOPE, outside=True))
        for cell in cells(family.runs):
            ratio = _ratio(cell.loss("LS").final, cell.loss("CE").final, RAW)
            if ratio is not None:
                keys |= _keys(cell, "CE", "LS")
                of_loss.append(Check(f"{cell.name} width {cell.facts['width']}", "slope LS/CE", ratio, SAME_SLOPE))
    if not of_width or not of_loss:
        raise NotTested("no setting with CE at two widths, 3 rates above 0, and LS beside it")
    return conclude([*of_width, *of_loss], runs=len(keys), notes=runs.notes)


@claim(
    "A15",
    statement="Memorization also dilates the clean training samples, with its own slope",
    bar="slope of NC1 of clean training samples on mem above 0, and its ratio to the test slope outside [.8, 1.25]",
    published="expected, not measured",
    method=_BOOTSTRAP + ", paired by seed",
    aggregation="each setting, CE and LS; the worst decides",
    minimum="3 eta above 0 and 2 seeds",
    needs=(*_NEEDS, RAW, "nc1_train_clean"),
)
def _a15(results: Results) -> Finding:
    runs = read(results)
    rising: list[Check] = []
    own: list[Check] = []
    keys: set[str] = set()
    for cell in cells(runs):
        for loss in ("CE", "LS"):
            final = cell.loss(loss).final
            clean, test = line(final, RAW, "nc1_train_clean"), line(final, RAW)
            if clean is None or test is None:
                continue
            keys |= _keys(cell, loss)
            name = f"{cell.name} {loss}"
            rises, ratio = clean.slope_estimate(), clean.ratio(test)
            rising.append(Check(name, "slope on clean training samples", rises, ABOVE_ZERO, decides=cell.decides))
            what = "slope, clean training over test"
            own.append(Check(name, what, ratio, SAME_SLOPE, outside=True, decides=cell.decides))
    if not rising:
        raise NotTested(f"no setting with CE or LS at {_FEWEST_RATES} rates above 0")
    return conclude([*rising, *own], runs=len(keys), notes=runs.notes)
