"""C3: does the memorization-dilation model, with parameters estimated under CE and LS, predict the other losses?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from byrote.analysis import Analysis, Sample, at_least, within
from byrote.analysis import model_fit as model
from byrote.claims.cells import Cell, Group, cells
from byrote.claims.gathering import BEGUN, Gathered, memorizes
from byrote.claims.memorization import papers_width
from byrote.claims.verdict import Finding, Row, Word, claim, needed

__all__ = ["PREDICTED", "Fitted", "fits_of"]

PREDICTED = within(math.log(0.8), math.log(1.25))
_BEST_FIRST: tuple[Word, ...] = ("holds", "holds except", "inconclusive", "fails in", "fails")
_SLOPE = "slope, measured over predicted"
_LEVEL = "memorization, measured over predicted"


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model fitted to one setting.

    Attributes:
        cell: the setting.
        group: the runs that have every reading a fit needs.
        fit: the model fitted to them.
        unmet: for each eta (wrong labels over right labels), why memorization at this eta cannot be compared with the
            model.
    """

    cell: Cell
    group: Group
    fit: model.Fit
    unmet: Mapping[float, str]


def _fitted(cell: Cell) -> Fitted | None:
    columns = cell.analysis.runs.take(cell.rows)
    rows = cell.rows[model.readable(columns) & np.isin(columns["loss"].astype(str), list(model.KINDS_OF))]
    final = cell.analysis.runs.take(rows)
    if not model.fittable(final):
        return None
    at = {eta: rate for rate, eta in model.mean_eta(final).items() if rate > 0}
    unmet = {eta: memorizes(cell, rate, BEGUN) for eta, rate in at.items()}
    unmet = {eta: why for eta, why in unmet.items() if why}
    return Fitted(cell, Group(cell.analysis, rows), model.fit_history(final), unmet)


def fits_of(analysis: Analysis) -> dict[str, Fitted]:
    """Fit the model to every setting with N = M = 2 under uniform noise in which CE and LS share three eta.

    Raises:
        NotTested: no finished run with two classes and M = 2.
    """
    uniform = [cell for cell in papers_width(cells(analysis)) if analysis.runs["noise"][cell.rows[0]] == "uniform"]
    fits = (_fitted(cell) for cell in uniform)
    return {one.cell.title: one for one in fits if one is not None}


def _gathered(analysis: Analysis, fitted: Sequence[Fitted], variant: model.Variant) -> Gathered:
    """Gather the checks of one variant of the model: slopes, distances, and memorization predicted with an interval."""
    gathered = Gathered(analysis)
    for one in fitted:
        facts: Row = {"model": variant}
        same: Row = {"used": (one.group,)}
        for slope in one.fit.slope_ratios:
            if slope.variant == variant:
                gathered.sample(one.cell, _SLOPE, slope.ratio, PREDICTED, at=slope.loss, facts=facts, **same)
        what = f"D of {one.fit.reference} over D of {one.fit.partner}"
        bar = at_least(math.log(one.fit.gamma_least))
        gathered.sample(one.cell, what, one.fit.gamma, bar, facts=facts, **same)
        for prediction in one.fit.predictions:
            if prediction.variant == variant:
                _add_level(gathered, one, prediction)
        gathered.rows += _parameters(one)
    return gathered


def _add_level(gathered: Gathered, one: Fitted, prediction: model.Prediction) -> None:
    """Compare memorization in one cell with its prediction; if the prediction has no interval, only add a row."""
    facts: Row = {"model": prediction.variant, "loss": prediction.loss, "eta": prediction.eta}
    facts |= {"gave_parameters": prediction.gave_parameters}
    for name in ("predicted_memorization", "measured_memorization", "predicted_dilation", "measured_dilation"):
        sample: Sample = getattr(prediction, name)
        facts[name] = math.exp(sample.whole) if sample.scale == "log" else sample.whole
    ratio, unmet = prediction.memorization_ratio, one.unmet.get(prediction.eta, "")
    if not unmet and not math.isfinite(prediction.predicted_memorization.whole):
        unmet = f"the model predicts nothing for {prediction.loss} in {one.cell.title}"
    searched = math.isfinite(ratio.whole) and not np.isfinite(ratio.values).all()
    same: Row = {"at": f"{prediction.loss} eta {prediction.eta:.3g}", "facts": facts, "unmet": unmet}
    gathered.sample(one.cell, _LEVEL, ratio, PREDICTED, used=(one.group,), shown=searched, **same)


def _parameters(one: Fitted) -> list[Row]:
    """The parameters estimated from the runs of one setting."""
    named = {"C_MD": one.fit.slope, "lambda_W": one.fit.lambda_w, "lambda_H": one.fit.lambda_h}
    rows: list[Row] = []
    for what, sample in named.items():
        value, seeds = math.exp(sample.whole), len(sample.seeds)
        rows.append({"cell": one.cell.title, "what": what, "value": value, "seeds": seeds})
    return rows


@claim(
    "C3",
    statement="The memorization-dilation model and its variants for LR, MSE and robust losses predict the measured "
    "slopes and memorization",
    bar="measured over predicted slope, and memorization at each eta: inside [.8, 1.25]; D of CE over LS at least what "
    "the model allows",
    published="future work in MD",
    method="t interval over jackknife pseudo-values of the seeds, all eta of a seed together, of the logarithm, paired "
    "by seed",
    cells="each setting with N = M = 2 under uniform noise, each loss, in the better of the raw model (one slope for "
    "all losses) and the scale-free one (slopes go as 1/D). C_MD comes from CE, the penalties from D of CE and LS. "
    "Memorization of RLL and of MSE on probabilities is predicted without an interval, in rows",
    minimum="3 eta and 3 seeds under CE and LS",
    premise="of memorization: CE reaches a clean accuracy of .98 and m >= .5 at that eta",
    needs=("realised_rate", "mem_mean", "nc1_test", "class_distance", "clean_accuracy", "corrupted_as_observed"),
)
def _c3(analysis: Analysis) -> Finding:
    why = f"no setting under uniform noise with CE and LS at {model.FEWEST_RATES} eta"
    fitted = needed(list(fits_of(analysis).values()), why)
    findings = {variant: _gathered(analysis, fitted, variant).finding("no fit") for variant in model.VARIANTS}
    best = min(model.VARIANTS, key=lambda variant: _BEST_FIRST.index(findings[variant].word))
    other = next(variant for variant in model.VARIANTS if variant != best)
    chosen = findings[best]
    passed_over = tuple(row for row in findings[other].details if row.get("what") == _SLOPE)
    losses = {str(loss) for one in fitted for loss in one.cell.losses} - set(model.KINDS_OF)
    without = f"; no model of {', '.join(sorted(losses))}" if losses else ""
    reason = f"{best} model (of the {other} one: {findings[other].text}); {chosen.reason}{without}"
    return replace(chosen, reason=reason, details=(*chosen.details, *passed_over))
