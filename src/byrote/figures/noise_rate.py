"""The noise rate estimated from each single run, against the true noise rate of the run."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, rule, values

__all__ = ["noise_rate"]

LOSSES = ("CE", "RLL", "nMSE")  # the two symmetric losses of claim C1, and the loss that most people train with
_LAWS = ("symmetric", "uniform")  # the noise laws that the estimate assumes


@figure(
    "noise-rate",
    title="The noise rate read off one run",
    order=50,
    needs=("rate_estimate", "rate_low", "rate_high", "underfits", "realised_rate"),
)
def noise_rate(analysis: Analysis) -> Drawing | None:
    """Draw the error of the estimated rate with its interval: a panel per setting and loss, a mark per run."""
    chosen = one_each((_stated(one) for one in rated(analysis)), NETWORK, len)
    cells = [(one.of_losses(loss), loss) for one in chosen for loss in LOSSES if loss in one.losses]
    if not cells:
        return None
    names = [loss for loss in LOSSES if loss in {loss for _, loss in cells}]
    reach = _reach(chosen)
    most = max(float(one.last("realised_rate").max()) for one in chosen)
    charts = [_panel(one, names, reach, most) for one, _ in cells]
    titles = [alt.Title(f"{loss}: {_covered(one)}", subtitle=one.title) for one, loss in cells]
    caption = (
        "The noise rate estimated from one run (from noisy labels that it was not trained on) minus the true share of "
        "wrong labels, in percent of the samples, against that share. There is one mark per run, with its 95% "
        "interval. A hollow mark should not be trusted, because the run underfits or cannot tell the rate. The dotted "
        "line is the truth, which a correct interval crosses; the number of intervals that do is above each panel. "
        f"{runs_text(chosen)}"
    )
    return Drawing(
        panels(charts, titles, len(names) if len(names) > 1 else min(len(cells), 3), size=(230, 170), names=names),
        caption,
    )


def _stated(one: Selection) -> Selection:
    """The runs with an estimated rate, under the losses and noise laws that the figure is about."""
    if str(one.setting.fields.get("noise.kind")) not in _LAWS:
        return one.of_losses()
    one = one.of_losses(*LOSSES)
    return one.where(np.isfinite(one.last("rate_estimate")) & ~one.collapsed)


def _off(one: Selection, name: str) -> NDArray[np.float64]:
    """The estimated rate, or an end of its interval, minus the true rate, for each of R runs, (R,)."""
    return one.last(f"rate_{name}") - one.last("realised_rate")


def _underfits(one: Selection) -> NDArray[np.bool_]:
    return np.asarray(np.nan_to_num(one.last("underfits")) > 0)


def _doubted(one: Selection) -> NDArray[np.bool_]:
    """The runs that underfit or have no interval."""
    return _underfits(one) | ~np.isfinite(one.last("rate_low"))


def _covered(one: Selection) -> str:
    """A text with the number of intervals that contain the true rate."""
    one = one.where(~_doubted(one))
    if not len(one):
        return "none is stated"
    covered = (_off(one, "low") <= 0) & (_off(one, "high") >= 0)
    return f"{int(covered.sum())} of {len(one)} cover the truth"


def _reach(shown: list[Selection]) -> float:
    """A round number that is at least as large as every error and every end of an interval, in absolute value."""
    ends = np.concatenate([np.abs(_off(one, end)) for one in shown for end in ("estimate", "low", "high")])
    return float(min(np.ceil(np.nanmax(ends) * 10 + 1e-9) / 10, 1.0))


def _panel(one: Selection, names: list[str], reach: float, most: float) -> list[Any]:
    seeds, place = np.unique(one.seeds, return_inverse=True)
    apart = 0.01 * (place - (len(seeds) - 1) / 2)  # shift the seeds, so that their marks do not overlap
    true = one.last("realised_rate")
    columns: dict[str, list[Any]] = {"loss": one.labels.tolist(), "seed": one.seeds.tolist(), "true": true.tolist()}
    columns |= {"at": (true + apart).tolist(), "rate": one.last("rate_estimate").tolist()}
    doubts = zip(_underfits(one).tolist(), _doubted(one).tolist(), strict=True)
    columns |= {"says": ["underfits" if low else "cannot tell" if doubted else "" for low, doubted in doubts]}
    estimate = _off(one, "estimate")
    ends = {name: _off(one, name) for name in ("low", "high")}
    # a run without an interval gets no whisker
    ends = {name: np.where(np.isfinite(end), end, estimate) for name, end in ends.items()}
    columns |= {name: values.tolist() for name, values in {"estimate": estimate, **ends}.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    across = alt.Scale(domain=[-0.05, most + 0.05], nice=False)
    x = alt.X("at:Q", title="share of wrong labels", scale=across, axis=alt.Axis(format=".0%"))
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    y = alt.Y("estimate:Q", title="stated minus true rate", scale=scale, axis=alt.Axis(format="+.0%"))
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("seed:Q"),
        alt.Tooltip("true:Q", title="wrong labels", format=".1%"),
        alt.Tooltip("rate:Q", title="stated", format=".1%"),
        alt.Tooltip("says:N", title="says that it"),
    ]
    base = alt.Chart(values(rows)).encode(x=x, color=by_loss(names), opacity=dimmed())
    whisker = base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q", scale=scale), y2=alt.Y2("high:Q"))
    marks = [
        base.transform_filter(f"datum.says {sign} ''").mark_point(filled=full, size=32).encode(y=y, tooltip=tips)
        for sign, full in (("===", True), ("!==", False))
    ]
    return [rule(0.0), whisker, *marks]
