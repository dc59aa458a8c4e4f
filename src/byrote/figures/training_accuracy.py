"""Accuracy on the noisy training labels while a network trains: a panel per loss, a curve per noise rate."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import (
    apart,
    band,
    by_loss,
    dimmed,
    epoch_axis,
    panels,
    rate_text,
    share_axis,
    values,
)

__all__ = ["training_accuracy", "with_many_classes"]

DASHES: list[Any] = [[1, 0], [7, 3], [4, 3], [1.5, 2.5], [9, 2, 2, 2], [3, 1]]


@figure(
    "training-accuracy",
    title="How much of the noisy training labels each loss fits",
    paper="LF Figs. 1 to 3",
    order=30,
    needs=("j1", "realised_rate"),
)
def training_accuracy(analysis: Analysis) -> Drawing | None:
    """Draw J1 against the epoch: a panel per loss, a curve per noise rate."""
    chosen = with_many_classes(analysis)
    if not chosen:
        return None
    names = losses_of(chosen)
    charts, titles = [], []
    for one in chosen:
        for loss in one.losses:
            charts.append(_panel(one.of_losses(loss), names))
            titles.append(alt.Title(loss, subtitle=one.title))
    caption = (
        "J1, the share of training images whose prediction equals the observed label, in percent, against the epoch, "
        "measured on the whole training set after each epoch shown. There is one curve per nominal noise rate η, with "
        "η at its end. The dotted lines are at 1 - ρ, where ρ is the share of wrong labels: a network that learns "
        "every clean label and no wrong label would end there. Lines are means over seeds, shaded areas their 95% "
        f"intervals (none for one seed). {runs_text(chosen)}"
    )
    return Drawing(panels(charts, titles, columns=4, size=(200, 170), names=names), caption)


def with_many_classes(analysis: Analysis) -> list[Selection]:
    """The settings with more than two classes, as in LF; if there are none, all settings.

    A setting keeps only the losses that were run at two rates or more, because a single curve allows no comparison.
    """
    curves = [_curves(one) for one in rated(analysis)]
    chosen = one_each(curves, NETWORK, lambda one: len(one.epochs) >= 3)
    many = [one for one in chosen if one.last("num_classes").max() > 2]
    return many or chosen


def _curves(one: Selection) -> Selection:
    return one.of_losses(*(loss for loss in one.losses if len(one.of_losses(loss).rates) >= 2))


def _panel(one: Selection, names: list[str]) -> list[Any]:
    last = int(one.epochs[-1])
    rows = one.curves(("loss", "rate"), ("j1",), within=(0, 1))
    rates = one.rates
    for row in rows:
        row["eta"] = rate_text(row["rate"])
    x = epoch_axis(last)
    y = share_axis(alt.Y, "j1", "J1")
    dash = alt.StrokeDash(
        "rate:N", scale=alt.Scale(domain=rates, range=[DASHES[i % len(DASHES)] for i in range(len(rates))]), legend=None
    )
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("rate:Q", title="nominal η"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("j1:Q", title="J1", format=".1%"),
        alt.Tooltip("j1_n:Q", title="runs"),
    ]
    lines = (
        alt.Chart(values(rows))
        .mark_line()
        .encode(x=x, y=y, color=by_loss(names), strokeDash=dash, opacity=dimmed(), tooltip=tips)
    )
    ends = [row for row in rows if row["epoch"] == last]
    label = alt.Chart(values(apart(ends, "j1"))).mark_text(align="left", dx=5, fontSize=10, clip=False)
    label = label.encode(x=x, y=alt.Y("place:Q"), text=alt.Text("eta:N"), opacity=dimmed(0.9))
    levels = [{"level": 1 - rho} for rho in _rhos(one)]
    level_rules = alt.Chart(values(levels)).mark_rule(strokeDash=[1, 3], opacity=0.6).encode(y=alt.Y("level:Q"))
    return [level_rules, band(rows, x, "j1", y, names, "rate:N"), lines, label]


def _rhos(one: Selection) -> list[float]:
    """The mean share of labels that are wrong in the runs at each nominal noise rate."""
    return [float(np.mean(one.at_rate(rate).last("realised_rate"))) for rate in one.rates]
