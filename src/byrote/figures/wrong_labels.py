"""What becomes of the wrong labels while a network trains: repeated (m) or seen through (t)."""

from __future__ import annotations

from typing import Any

import altair as alt

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, rated, reference_rate, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import (
    band,
    by_loss,
    dimmed,
    epoch_axis,
    panels,
    rate_text,
    share_axis,
    values,
)

__all__ = ["wrong_labels"]

MEASURES = {
    "corrupted_as_observed": "m: given the wrong label",
    "corrupted_as_true": "t: given the true class",
}


@figure("wrong-labels", title="What becomes of the wrong labels", order=5, needs=tuple(MEASURES))
def wrong_labels(analysis: Analysis) -> Drawing | None:
    """m and t against the epoch, one panel each a setting and noise rate, one line a loss."""
    chosen = one_each(rated(analysis), NETWORK, lambda one: len(one.epochs) >= 3 and max(one.rates) > 0)
    if not chosen:
        return None
    names = losses_of(chosen)
    charts, titles = [], []
    for one in chosen:
        rate = reference_rate(one)
        for field, words in MEASURES.items():
            charts.append(_panel(one.at_rate(rate), field, names))
            titles.append(alt.Title(words, subtitle=f"{one.title}, {rate_text(rate)}"))
    caption = (
        "Of the training images whose label was made wrong: m, the share whose prediction repeats the wrong label "
        "(memorized), and t, the share whose prediction is the true class all the same, in percent, against the epoch. "
        "Of each setting the noise rate at which most losses were run and, among those, the one nearest .2. Mean over "
        f"seeds, shaded its 95% interval (none for one seed). {runs_text(chosen)}"
    )
    columns, size = (4, (200, 180)) if len(chosen) > 1 else (2, (390, 230))
    return Drawing(panels(charts, titles, columns, size, names), caption)


def _panel(one: Selection, field: str, names: list[str]) -> list[Any]:
    last = int(one.epochs[-1])
    rows = one.curves(("loss",), (field,), within=(0, 1))
    x, y = epoch_axis(last), share_axis(alt.Y, field, "share of wrong labels")
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip(f"{field}:Q", title=MEASURES[field], format=".1%"),
        alt.Tooltip(f"{field}_n:Q", title="runs"),
    ]
    line = (
        alt.Chart(values(rows))
        .mark_line()
        .encode(x=x, y=y, color=by_loss(names), strokeDash=by_loss(names, "dash"), opacity=dimmed(), tooltip=tips)
    )
    ends = alt.Chart(values([row for row in rows if row["epoch"] == last])).mark_point(filled=True, size=60)
    ends = ends.encode(x=x, y=y, color=by_loss(names), shape=by_loss(names, "shape"), opacity=dimmed(), tooltip=tips)
    return [band(rows, x, field, y, names), line, ends]
