"""Predictions for samples with wrong labels during training: the wrong label (share m) or the true label (share t)."""

from __future__ import annotations

from typing import Any

import altair as alt

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, rated, reference_rate, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import panels, rate_text, share_axis, share_lines

__all__ = ["wrong_labels"]

MEASURES = {
    "corrupted_as_observed": "m: given the wrong label",
    "corrupted_as_true": "t: given the true class",
}


@figure("wrong-labels", title="What becomes of the wrong labels", order=5, needs=tuple(MEASURES))
def wrong_labels(analysis: Analysis) -> Drawing | None:
    """Draw m and t against the epoch: a panel per setting and noise rate, a line per loss."""
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
        "Among training images with a wrong label: m, the share whose prediction repeats the wrong label (memorized), "
        "and t, the share whose prediction is nevertheless the true class, in percent, against the epoch. Each "
        "setting is shown at the noise rate at which the most losses were run; of several such rates, at the one "
        "nearest .2. Lines are means over seeds, shaded areas their 95% intervals (none for one seed). "
        f"{runs_text(chosen)}"
    )
    columns, size = (4, (200, 180)) if len(chosen) > 1 else (2, (390, 230))
    return Drawing(panels(charts, titles, columns, size, names), caption)


def _panel(one: Selection, field: str, names: list[str]) -> list[Any]:
    last = int(one.epochs[-1])
    rows = one.curves(("loss",), (field,), within=(0, 1))
    y = share_axis(alt.Y, field, "share of wrong labels")
    return share_lines(rows, field, y, MEASURES[field], names, last)
