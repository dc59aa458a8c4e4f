"""Generalization: test accuracy against the noise rate, and against memorization."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import DATA, Selection, losses_of, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, interval_words, panels, values

__all__ = ["generalization"]

X = {"rate": "noise rate η (nominal)", "mem_noise_weighted": "mem (feature units)"}


@figure(
    "test-accuracy",
    title="Accuracy on unseen images",
    paper="MD Fig. 1 (bottom)",
    order=20,
    needs=("test_accuracy", "mem_noise_weighted"),
)
def generalization(analysis: Analysis) -> Drawing | None:
    """Draw test accuracy at the end of training against eta and against mem: means over seeds with 95% intervals."""
    chosen = one_each(rated(analysis), DATA, lambda one: len(one.rates) >= 2)
    if not chosen:
        return None
    names = losses_of(chosen)
    charts = [_panel(one, x, names) for one in chosen for x in X]
    caption = (
        "The share of test images that are given their true class at the end of training, in percent: the mean over "
        "seeds at each noise rate with its 95% interval (Student t; none for one seed). In each pair, the left panel "
        "is against the nominal noise rate η. The right panel is against mem: the distances of wrongly labeled images "
        "from the test mean of their true class, summed and divided by the number of training samples, in the units "
        f"of the features. {runs_text(chosen)}"
    )
    columns, size = (4, (200, 170)) if len(chosen) > 1 else (2, (390, 230))
    return Drawing(panels(charts, [one.title for one in chosen for _ in X], columns, size, names), caption)


def _panel(one: Selection, x: str, names: list[str]) -> list[Any]:
    averaged = ("test_accuracy",) if x == "rate" else ("test_accuracy", x)
    rows = [
        row for row in one.means(("loss", "rate"), averaged) if row["test_accuracy"] is not None and row[x] is not None
    ]
    step = min(0.012, 0.06 / max(len(names) - 1, 1))  # as a share of the axis; all losses together take 6% of the axis
    apart = step * float(np.ptp(one.rate)) if x == "rate" else 0.0
    for row in rows:  # shift the losses, so that their intervals at the same rate do not overlap
        row["at"] = row[x] + apart * (names.index(row["loss"]) - (len(names) - 1) / 2)
    y = alt.Y(
        "test_accuracy:Q", title="test accuracy", scale=alt.Scale(zero=False, padding=6), axis=alt.Axis(format=".0%")
    )
    marks = {
        "x": alt.X("at:Q", title=X[x], scale=alt.Scale(padding=8), axis=alt.Axis(tickCount=4)),
        "color": by_loss(names),
        "opacity": dimmed(),
    }
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("rate:Q", title="nominal η"),
        alt.Tooltip("test_accuracy:Q", title="test accuracy", format=".1%"),
        alt.Tooltip("interval:N", title="95% interval"),
        alt.Tooltip("test_accuracy_n:Q", title="runs"),
    ]
    base = alt.Chart(values(rows)).transform_calculate(interval=interval_words("test_accuracy", "test_accuracy_n"))
    whisker = base.mark_rule(strokeWidth=1.5).encode(
        **marks, y=alt.Y("test_accuracy_low:Q"), y2=alt.Y2("test_accuracy_high:Q")
    )
    line = base.mark_line(strokeWidth=1.6).encode(
        **marks, y=y, order=alt.Order("rate:Q"), strokeDash=by_loss(names, "dash")
    )
    point = base.mark_point(filled=True, size=55).encode(**marks, y=y, shape=by_loss(names, "shape"), tooltip=tips)
    return [line, whisker, point]
