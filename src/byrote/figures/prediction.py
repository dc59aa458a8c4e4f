"""The predictions of the memorization-dilation model for each loss, compared with the measured values."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis
from byrote.analysis.lines import printed
from byrote.analysis.model_fit import KINDS_OF, NEEDS, Fit, fit_history, fittable
from byrote.analysis.samples import Estimate
from byrote.analysis.series import DATA, Selection, in_order, losses_of, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, values

__all__ = ["prediction"]

QUANTITIES = {"memorization": "memorization (feature units)", "dilation": "dilation r/D"}
VARIANTS = {"raw": "one slope for all losses", "scale-free": "slopes as 1/D"}
_FACTOR = 1.25  # the largest factor between measured and predicted values in claim C3
_Row = dict[str, Any]


@figure(
    "prediction",
    title="The memorization-dilation model's predictions, and what was measured",
    paper="MD section 4",
    order=65,
    needs=("num_classes", "feature_width", *NEEDS),
)
def prediction(analysis: Analysis) -> Drawing | None:
    """Draw measured against predicted memorization and dilation, by loss and eta, for N = M = 2 and uniform noise."""
    fits = {one.title: (one, fit_history(_whole(one))) for one in _chosen(analysis)}
    drawn = {title: pair for title, pair in fits.items() if _rows(pair[1], "raw", "memorization")}
    if not drawn:
        return None
    rows = {
        (title, variant, quantity): _rows(fit, variant, quantity)
        for title, (_, fit) in drawn.items()
        for variant in VARIANTS
        for quantity in QUANTITIES
    }
    names = in_order(row["loss"] for part in rows.values() for row in part)
    charts = [_panel(part, quantity, names) for (_, _, quantity), part in rows.items()]
    titles = [alt.Title(title, subtitle=f"{variant}: {VARIANTS[variant]}") for title, variant, _ in rows]
    columns, size = (4, (190, 190)) if len(drawn) > 1 else (2, (330, 300))
    return Drawing(panels(charts, titles, columns, size, names), _caption(fits, drawn))


def _caption(fits: dict[str, tuple[Selection, Fit]], drawn: dict[str, tuple[Selection, Fit]]) -> str:
    without = [title for title in fits if title not in drawn]
    none = f" No penalties and slope reproduce CE and LS in {'; '.join(without)}." if without else ""
    shown = [one.of_losses(*KINDS_OF) for one, _ in drawn.values()]
    others = [loss for loss in losses_of(one for one, _ in drawn.values()) if loss not in KINDS_OF]
    none += f" The model does not cover {', '.join(others)}." if others else ""
    return (
        "Each mark is a loss at one noise rate, with 95% intervals over seeds (none for one seed, and none for "
        "predictions under RLL and MSE on probabilities). Lines join the rates in order. On the diagonal, measured "
        "and predicted values are equal; within the shade they differ by a factor of at most 1.25. Both axes are "
        "logarithmic. The model takes its slope C_MD from CE and its penalties from the class distances D under CE "
        "and LS, and nothing else from the runs. Memorization is η ‖h₂ - u₁‖ in the units of the features, where η is "
        "the number of wrong labels over the number of right labels. Dilation is a pure number: √NC1 on test data, "
        "for a circular spread, predicted with the floor that CE has at no memorization. The model as printed (raw) "
        f"is shown beside the scale-free model, which measures memorization in units of D.{none} "
        f"{runs_text(shown, nc1=True)}"
    )


def _chosen(analysis: Analysis) -> list[Selection]:
    """For each data set, the main setting among the settings that the model describes."""
    return one_each((_modeled(one) for one in rated(analysis)), DATA, lambda one: len(one) and fittable(_whole(one)))


def _modeled(one: Selection) -> Selection:
    """The runs of a setting with two classes and two features, under uniform noise."""
    plane = (one.last("num_classes") == 2) & (one.last("feature_width") == 2)
    return one.where(plane & (one.text("noise") == "uniform"))


def _whole(one: Selection) -> dict[str, NDArray[Any]]:
    """The columns for runs under losses that the model covers; collapsed runs, whose D is meaningless, are left out."""
    modeled = one.of_losses(*KINDS_OF)
    whole = modeled.where(~modeled.collapsed)
    return {name: whole.labels if name == "loss" else whole.last(name) for name in NEEDS}


def _rows(fit: Fit, variant: str, quantity: str) -> list[_Row]:
    """A row for each loss and eta with a prediction of the model."""
    rows: list[_Row] = []
    for one in fit.predictions:
        predicted, measured = (printed(getattr(one, f"{side}_{quantity}")) for side in ("predicted", "measured"))
        if one.variant == variant and predicted.value > 0 and measured.value > 0:
            row: _Row = {"loss": one.loss, "eta": one.eta, "seeds": measured.n}
            rows.append(row | _ends("predicted", predicted) | _ends("measured", measured))
    return rows


def _ends(name: str, estimate: Estimate) -> _Row:
    known = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    ends = (estimate.low, estimate.high) if known else (estimate.value, estimate.value)
    return {name: estimate.value, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _domain(rows: list[_Row]) -> tuple[float, float]:
    """A common range of both axes with all marks; intervals that go beyond them by more than a factor of 2 are cut."""
    seen = np.array([row[name] for row in rows for name in ("predicted", "measured")])
    return float(seen.min()) / 2, float(seen.max()) * 2


def _panel(rows: list[_Row], quantity: str, names: list[str]) -> list[Any]:
    low, high = _domain(rows)
    shown = [
        row | {name: float(np.clip(row[name], low, high)) for name in row if name.endswith(("_low", "_high"))}
        for row in rows
    ]
    scale = alt.Scale(type="log", domain=[low, high], nice=False, clamp=True)
    axis = alt.Axis(format="~g", values=_ticks(low, high))
    x = alt.X("predicted:Q", title=f"predicted {QUANTITIES[quantity]}", scale=scale, axis=axis)
    y = alt.Y("measured:Q", title=f"measured {quantity}", scale=scale, axis=axis)
    looks = {"color": by_loss(names), "opacity": dimmed()}
    tips = [alt.Tooltip("loss:N"), alt.Tooltip("eta:Q", title="η = wrong / right", format=".3f")]
    tips += [
        alt.Tooltip(f"{name}{end}:Q", title=f"{name} {word}".strip(), format=".3g")
        for name in ("predicted", "measured")
        for end, word in (("", ""), ("_low", "from"), ("_high", "to"))
    ]
    base = alt.Chart(values(shown))
    across = base.mark_rule(strokeWidth=1.2).encode(
        x=_end(x, "predicted_low"), x2=alt.X2("predicted_high:Q"), y=y, **looks
    )
    up = base.mark_rule(strokeWidth=1.2).encode(x=x, y=_end(y, "measured_low"), y2=alt.Y2("measured_high:Q"), **looks)
    line = base.mark_line(strokeWidth=1, strokeDash=[2, 2]).encode(x=x, y=y, order=alt.Order("eta:Q"), **looks)
    point = base.mark_point(filled=True, size=60).encode(x=x, y=y, shape=by_loss(names, "shape"), tooltip=tips, **looks)
    return [*_diagonal(low, high, x, y), line, across, up, point]


def _end(channel: Any, field: str) -> Any:
    other = channel.copy()
    other.shorthand = f"{field}:Q"
    return other


def _diagonal(low: float, high: float, x: Any, y: Any) -> list[Any]:
    """Draw the line on which measured and predicted values are equal, and the shaded region around the line."""
    at = np.geomspace(low, high, 2 + int(20 * math.log10(high / low)))
    rows = [
        {"predicted": one, "measured": one, "under": max(one / _FACTOR, low), "over": min(one * _FACTOR, high)}
        for one in at.tolist()
    ]
    base = alt.Chart(values(rows))
    shade = base.mark_area(opacity=0.1, color="currentColor").encode(x=x, y=_end(y, "under"), y2=alt.Y2("over:Q"))
    return [shade, base.mark_line(strokeWidth=1, opacity=0.6, color="currentColor").encode(x=x, y=y)]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within the range: 1, 2 and 5 times each power of ten, or only the powers if there would be many.

    >>> _ticks(0.04, 0.6), _ticks(0.003, 20)
    ([0.05, 0.1, 0.2, 0.5], [0.01, 0.1, 1.0, 10.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [round(digit * 10.0**power, 12) for power in powers for digit in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    few = [tick for tick in inside if math.isclose(math.log10(tick), round(math.log10(tick)), abs_tol=1e-9)]
    return few if len(inside) > 7 else inside
