"""A figure for data with unknown true labels: how often predictions agree with the labels that came with the data."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import panels, rate_text, share_axis, share_lines

__all__ = ["given_labels"]

READINGS = {"given_agreement": "training samples", "test_given_agreement": "samples held out for the test"}


@figure("given-labels", title="Agreement with the given labels", order=4, needs=tuple(READINGS))
def given_labels(analysis: Analysis) -> Drawing | None:
    """Draw agreement with the given labels against the epoch, on training and on test samples, with a line per loss."""
    given = (one.where(analysis.given[one.runs]) for one in rated(analysis))
    chosen = one_each(given, NETWORK, lambda one: len(one) > 0 and len(one.epochs) >= 2)
    if not chosen:
        return None
    chosen = [one.at_rate(min(one.rates)) for one in chosen]
    names = losses_of(chosen)
    charts, titles = [], []
    for one in chosen:
        for field, words in READINGS.items():
            charts.append(_panel(one, field, names))
            titles.append(alt.Title(words, subtitle=f"{one.title}, {rate_text(one.rates[0])}"))
    caption = (
        "The share of samples whose prediction is the label that came with the data, in percent, against the epoch, "
        "on training samples and on held-out samples. It is unknown which of these labels are wrong, so the share only "
        "shows how well the labels are reproduced. Each setting is shown at its least added noise η. Lines are means "
        f"over seeds, shaded areas their 95% intervals (none for one seed). {runs_text(chosen)}"
    )
    columns, size = (4, (200, 180)) if len(chosen) > 1 else (2, (390, 230))
    return Drawing(panels(charts, titles, columns, size, names), caption)


def _panel(one: Selection, field: str, names: list[str]) -> list[Any]:
    last = int(one.epochs[-1])
    rows = [row for row in one.curves(("loss",), (field,), within=(0, 1)) if row[field] is not None]
    low = np.floor(10 * min((row[f"{field}_low"] for row in rows), default=0.0)) / 10
    y = share_axis(alt.Y, field, "agreement with the given labels", (float(min(low, 0.9)), 1.0))
    return share_lines(rows, field, y, "agreement with the given labels", names, last)
