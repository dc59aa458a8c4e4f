"""C3: do the memorization-dilation model's parameters, read off stored runs, predict the other losses?

The one place where fits of the model become a verdict: `byrote claims`, `byrote theory claims --runs`, and `judge` for
fits of one's own arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from byrote.analysis import model_fit as model
from byrote.analysis.lines import printed
from byrote.analysis.samples import Sample
from byrote.claims.cells import Cell, cells, read, under_trained
from byrote.claims.decide import Check, at_least, conclude, within
from byrote.claims.geometry import MODES
from byrote.claims.memorization import papers_width
from byrote.claims.statistics import Estimate
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results

__all__ = ["PREDICTED", "Fitted", "fits_of", "judge"]

PREDICTED = within(0.8, 1.25)
_SEVERITY = ("fails", "inconclusive", "holds")
_NEEDS = (*model.NEEDS, "norm_cv", "collapsed", "num_classes", "feature_width", "noise", "j1")


@dataclass(frozen=True)
class Fitted:
    """The model fitted to one setting.

    unmet: of a cell (its eta), why its memorization cannot be held against the model; absent where it can. by_mode:
    the same among runs with one class at zero, and among the others. notes: what was left out. decides: false of a
    variation, see `byrote.claims.cells`.
    """

    name: str
    fit: model.Fit
    unmet: Mapping[float, str] = field(default_factory=dict)
    by_mode: Mapping[str, model.Fit] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decides: bool = True


def _fitted(cell: Cell) -> Fitted | None:
    final = cell.runs.final.where(model.readable(cell.runs.final))
    if not model.fittable(final):
        return None
    modes: dict[str, model.Fit] = {}
    counts = []
    for mode, holds in MODES.items():
        part = final.where(norm_cv=holds)
        if 0 < len(part) < len(final):
            counts.append(f"{mode}: {len(part)} of {len(final)} runs")
            if model.fittable(part):
                modes[mode] = model.fit_history(part, predict=False)
    others = sorted(set(final["loss"].tolist()) - set(model.KINDS_OF))
    notes = [*counts, *([f"no model of {', '.join(others)}"] if others else [])]
    unmet = {eta: under_trained(cell, rate) for rate, eta in model.mean_eta(final).items() if rate > 0}
    unmet = {eta: why for eta, why in unmet.items() if why}
    return Fitted(cell.name, model.fit_history(final), unmet, modes, tuple(notes), cell.decides)


def fits_of(results: Results) -> dict[str, Fitted]:
    """The model fitted to every setting with N = M = 2 under uniform noise in which CE and LS share three eta.

    Collapsed and failed runs, other alphas and doubled reruns are left out, as in every claim.

    Raises:
        NotTested: no finished run with two classes and M = 2.
    """
    runs = papers_width(read(results)).where(noise="uniform")
    found = (_fitted(cell) for cell in cells(runs))
    return {one.name: one for one in found if one is not None}


def judge(fitted: Sequence[Fitted], notes: Sequence[str] = ()) -> Finding:
    """The verdict on fits: the better of the raw and the scale-free model decides, every setting and loss in it.

    Of two that fail, the one in which fewer checks fail is shown.

    Args:
        fitted: at least one. Of fits of one's own arrays, `Fitted("name", model_fit.fit_runs(...))`.
        notes: further remarks for the reason.
    """
    runs = sum(one.fit.runs for one in fitted)
    findings: dict[model.Variant, Finding] = {}
    standing: dict[model.Variant, tuple[int, int]] = {}
    for variant in model.VARIANTS:
        checks = _deciding_first([check for one in fitted for check in _checks(one, variant)])
        rows = [row for one in fitted for row in _rows(one, variant)]
        findings[variant] = conclude(checks, runs=runs, rows=rows)
        failed = sum(check.verdict == "fails" for check in [c for c in checks if c.decides] or checks)
        standing[variant] = _SEVERITY.index(findings[variant].verdict), -failed
    best = max(model.VARIANTS, key=lambda variant: standing[variant])  # of equals the paper's, which comes first
    other = next(variant for variant in model.VARIANTS if variant != best)
    found = findings[best]
    said = [f"{best} model (the {other} one {_ends(findings[other])})", found.reason, *_told(fitted), *notes]
    passed_over = (row for row in findings[other].details if row["what"] == _SLOPE)
    details = (*found.details, *passed_over, *(row for one in fitted for row in _parameters(one)))
    return Finding(found.verdict, found.statistic, found.interval, runs, "; ".join(filter(None, said)), details)


_SLOPE = "slope, measured over predicted"
_LEVEL = "memorization, measured over predicted"


def _deciding_first(checks: list[Check]) -> list[Check]:
    """The kind of check that ends worst first, since its statistic is the one shown; of equals slopes first."""
    kinds = list(dict.fromkeys([_SLOPE, *(check.what for check in checks)]))
    deciding = [check for check in checks if check.decides] or checks
    worst = {kind: min((_SEVERITY.index(c.verdict) for c in deciding if c.what == kind), default=2) for kind in kinds}
    return sorted(checks, key=lambda check: (worst[check.what], kinds.index(check.what)))


def _ends(finding: Finding) -> str:
    return "is undecided" if finding.verdict == "inconclusive" else finding.verdict


def _told(fitted: Sequence[Fitted]) -> list[str]:
    """Once each, what the settings have to say."""
    many = len(fitted) > 1
    return list(dict.fromkeys(f"{one.name}: {note}" if many else note for one in fitted for note in one.notes))


def _known(sample: Sample) -> Estimate:
    """With infinite ends where there is no interval."""
    one = printed(sample)
    return Estimate(one.value, one.low, one.high, one.n) if math.isfinite(one.half) else _open(one.value, one.n)


def _open(value: float, seeds: int) -> Estimate:
    return Estimate(value, -math.inf, math.inf, seeds)


def _checks(one: Fitted, variant: model.Variant) -> list[Check]:
    """What decides: slopes, the distances, and memorization where its prediction has an interval."""
    facts: Row = {"model": variant}
    ratios = {ratio.loss: _known(ratio.ratio) for ratio in one.fit.slope_ratios if ratio.variant == variant}
    checks = [
        Check(f"{one.name} {loss}", _SLOPE, ratio, PREDICTED, facts=facts | {"loss": loss}, decides=one.decides)
        for loss, ratio in ratios.items()
    ]
    what = f"D of {one.fit.reference} over D of {one.fit.partner}"
    bar = at_least(one.fit.gamma_least)
    checks.append(Check(one.name, what, _known(one.fit.gamma), bar, facts=facts, decides=one.decides))
    return checks + [_level(one, prediction) for prediction in _of(one, variant) if _repeated(prediction)]


def _rows(one: Fitted, variant: model.Variant) -> list[Row]:
    """What does not decide: memorization predicted without an interval, and the two modes by themselves."""
    rows = [_level(one, prediction).row() for prediction in _of(one, variant) if not _repeated(prediction)]
    for mode, fit in one.by_mode.items():
        rows += [
            check.row() | {"mode": mode} for check in _checks(Fitted(one.name, fit), variant) if check.what == _SLOPE
        ]
    return rows


def _of(one: Fitted, variant: model.Variant) -> list[model.Prediction]:
    return [prediction for prediction in one.fit.predictions if prediction.variant == variant]


def _repeated(prediction: model.Prediction) -> bool:
    """Whether the model was solved without each seed too: not for losses with several minima."""
    predicted = prediction.predicted_memorization
    return not math.isfinite(predicted.whole) or math.isfinite(printed(predicted).half) or len(predicted.seeds) < 2


def _level(one: Fitted, prediction: model.Prediction) -> Check:
    """Memorization in one cell, held against its prediction."""
    facts: Row = {"model": prediction.variant, "loss": prediction.loss, "eta": prediction.eta}
    facts |= {"gave_parameters": prediction.gave_parameters}
    for name in ("predicted_memorization", "measured_memorization", "predicted_dilation", "measured_dilation"):
        estimate = printed(getattr(prediction, name))
        facts |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    unmet = one.unmet.get(prediction.eta, "")
    if not unmet and not math.isfinite(prediction.predicted_memorization.whole):
        exist = math.isfinite(one.fit.lambda_w.whole) and math.isfinite(one.fit.slope.whole)
        why = "its class means collapse there" if exist else "no penalties and slope give what was measured"
        unmet = f"the model predicts nothing for {prediction.loss} in {one.name}: {why}"
    name = f"{one.name} {prediction.loss} eta {prediction.eta:.3g}"
    ratio = _known(prediction.memorization_ratio)
    return Check(name, _LEVEL, ratio, PREDICTED, unmet=unmet, facts=facts, decides=one.decides)


def _parameters(one: Fitted) -> list[Row]:
    """What was read off the runs, all together and in each mode."""
    rows: list[Row] = []
    for mode, fit in {"": one.fit, **one.by_mode}.items():
        for what, sample in (("C_MD", fit.slope), ("lambda_W", fit.lambda_w), ("lambda_H", fit.lambda_h)):
            estimate = printed(sample)
            row: Row = {"cell": one.name, "what": what, "value": estimate.value, "low": estimate.low}
            rows.append(row | {"high": estimate.high, "seeds": estimate.n} | ({"mode": mode} if mode else {}))
    return rows


@claim(
    "C3",
    statement="The memorization-dilation model and its variants for LR, MSE and robust losses predict the measured "
    "slopes and memorization",
    bar="measured over predicted slope, and memorization at each eta: inside [.8, 1.25] holds, outside fails; D of CE "
    "over LS at least what the model allows",
    published="future work in MD",
    method="t interval over seeds of jackknife pseudo-values (the model is fitted once without each seed, all its eta "
    "together) of the logarithms of the ratios",
    aggregation="each setting with N = M = 2 under uniform noise, each loss; the worst decides, in the better of the "
    "raw model (one slope for all losses) and the scale-free one (slopes go as 1/D). C_MD comes from CE, the penalties "
    "from D of CE and LS. Memorization of RLL and of MSE on probabilities is predicted without an interval, in rows; "
    "so are the two modes of N = 2",
    minimum="3 eta and 2 seeds under CE and LS",
    premise="of memorization: CE reaches J1 >= .98 at that eta; other eta are left out",
    needs=_NEEDS,
)
def _c3(results: Results) -> Finding:
    fitted = list(fits_of(results).values())
    if not fitted:
        raise NotTested(f"no setting under uniform noise with CE and LS at {model.FEWEST_RATES} eta")
    return judge(fitted, read(results).notes)
