"""Neural collapse while a network trains: NC1 on test data and the distance between the classes."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, rated, reference_rate, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, epoch_axis, panels, rate_text, values

__all__ = ["collapse_over_time"]

READINGS = {"nc1_test": "NC1 on test data", "class_distance": "D (feature units)"}


@figure("collapse-over-time", title="How the geometry comes about", order=70, needs=tuple(READINGS))
def collapse_over_time(analysis: Analysis) -> Drawing | None:
    """Draw test NC1 and the class distance D against the epoch, both on logarithmic axes."""
    chosen = one_each(rated(analysis), NETWORK, lambda one: len(one.epochs) >= 3 and max(one.rates) > 0)
    if not chosen:
        return None
    names = losses_of(chosen)
    charts, titles = [], []
    for one in chosen:
        rate = reference_rate(one)
        for field in READINGS:
            charts.append(_panel(one.at_rate(rate), field, names))
            titles.append(alt.Title(READINGS[field], subtitle=f"{one.title}, {rate_text(rate)}"))
    caption = (
        "NC1 on test data with true labels (a pure number) and D, the mean distance between the test class means in "
        "the units of the features, against the epoch. Both value axes are logarithmic. Lines are means over seeds. "
        f"{runs_text(chosen, nc1=True)}"
    )
    columns, size = (4, (200, 170)) if len(chosen) > 1 else (2, (390, 220))
    return Drawing(panels(charts, titles, columns, size, names), caption)


def _panel(one: Selection, field: str, names: list[str]) -> list[Any]:
    last = int(one.epochs[-1])
    rows = [row for row in one.curves(("loss",), (field,)) if (row[field] or 0) > 0]
    x = epoch_axis(last)
    ticks = _ticks([row[field] for row in rows])
    log = alt.Scale(type="log", nice=False, padding=8)
    y = alt.Y(f"{field}:Q", title=READINGS[field], scale=log, axis=alt.Axis(format="~g", values=ticks))
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip(f"{field}:Q", title=READINGS[field], format=".4f"),
        alt.Tooltip(f"{field}_n:Q", title="runs"),
    ]
    marks = {"x": x, "y": y, "color": by_loss(names), "opacity": dimmed(), "tooltip": tips}
    line = alt.Chart(values(rows)).mark_line().encode(**marks, strokeDash=by_loss(names, "dash"))
    ends = alt.Chart(values([row for row in rows if row["epoch"] == last])).mark_point(filled=True, size=60)
    return [line, ends.encode(**marks, shape=by_loss(names, "shape"))]


def _ticks(seen: list[float]) -> list[float]:
    """Round values within the drawn range, from the coarsest grid with three of them: powers of ten, 1-2-5, or finer.

    >>> _ticks([0.03, 0.2])
    [0.05, 0.1, 0.2]
    >>> _ticks([0.01, 5.0]), _ticks([0.041, 0.062])
    ([0.01, 0.1, 1.0], [0.045, 0.05, 0.06])
    """
    if not seen:
        return []
    low, high = min(seen), max(seen)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in (
        (1,),
        (1, 2, 5),
        (1, 1.5, 2, 3, 5, 7),
        (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
    ):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(inside) >= 3:
            break
    return inside
