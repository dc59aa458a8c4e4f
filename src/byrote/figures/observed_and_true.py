"""J1 and J2 while a network trains: agreement with the observed and with the true labels."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import Selection, losses_of, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import (
    apart,
    band,
    by_loss,
    dimmed,
    epoch_axis,
    interval_words,
    panels,
    rate_text,
    rule,
    share_axis,
    values,
)
from byrote.figures.style import INK
from byrote.figures.training_accuracy import with_many_classes

__all__ = ["observed_and_true", "published_finals"]

_PANELS = 36  # about as many panels as a reader can compare
MEASURES = {"j1": "J1, observed label", "j2": "J2, true label"}
_LOSSES = {"CE": "cross_entropy", "MSE-p": "mse_probabilities", "RLL": "robust_log", "nMSE": "normalized_mse"}


@figure(
    "observed-and-true",
    title="Fitting the labels that were given, or the ones that are true",
    paper="LF Figs. 5 and 6",
    order=40,
    needs=("j1", "j2", "realised_rate"),
)
def observed_and_true(analysis: Analysis) -> Drawing | None:
    """Draw J1 (solid) and J2 (dashed) against the epoch: a row per noise rate above 0, a column per loss."""
    chosen = with_many_classes(analysis)
    charts, titles, marked = [], [], 0
    names = losses_of(chosen)
    rates = sorted({rate for one in chosen for rate in one.rates if rate > 0})
    columns = len(names) if len(names) <= 4 else 3
    rates = _spaced(rates, max(1, _PANELS // max(1, len(chosen) * len(names))))
    for one in chosen:
        for rate in rates:
            for loss in one.losses:
                rows = one.of_losses(loss).at_rate(rate)
                if len(rows):
                    published = published_finals(one, loss, rate)
                    marked += len(published)
                    charts.append(_panel(rows, names, published))
                    titles.append(alt.Title(f"{loss}, {rate_text(rate)}", subtitle=one.title))
    if not charts:
        return None
    marks = (
        " Diamonds at the right edge: the final values in the figures of LF (filled J1, hollow J2)." if marked else ""
    )
    caption = (
        "Solid lines are J1, the share of training images whose prediction equals the observed label; dashed lines "
        "are J2, the share whose prediction equals the true label. Both are in percent of the whole training set, "
        "against the epoch. The dotted line is at 1 - ρ, where ρ is the share of wrong labels. A network that "
        "memorizes ends with J1 at 1 and J2 at the dotted line; a network that resists ends with J2 at 1 and J1 at "
        f"the dotted line. Lines are means over seeds, shaded areas their 95% intervals (none for one seed).{marks} "
        f"{runs_text(chosen)}"
    )
    return Drawing(panels(charts, titles, columns, size=(205, 120), names=names), caption)


def _spaced(rates: list[float], most: int) -> list[float]:
    """At most `most` rates, evenly chosen from the largest to the smallest.

    >>> _spaced([0.1, 0.2, 0.3, 0.4], 2), _spaced([0.1, 0.2], 1)
    ([0.1, 0.4], [0.2])
    """
    if len(rates) <= most:
        return rates
    return sorted(rates[int(place)] for place in np.linspace(len(rates) - 1, 0, most).round())


def published_finals(one: Selection, loss: str, rate: float) -> dict[str, float]:
    """The final J1 and J2 that LF's figures show for this data set, network, loss and rate, as shares."""
    text = (importlib.resources.files("byrote.reference") / "lf_published_curves.json").read_text("utf-8")
    wanted = (one.setting.fields.get("data.kind"), one.setting.fields.get("network.kind"), _LOSSES.get(loss))
    return {
        row["measure"].lower(): row["final"] / 100
        for row in json.loads(text)["rows"]
        if (row["dataset"], row["network"], row["loss"]) == wanted and abs(row["eta"] - rate) < 1e-9
    }


def _panel(one: Selection, names: list[str], published: dict[str, float]) -> list[Any]:
    last = int(one.epochs[-1])
    averaged = one.curves(("loss",), tuple(MEASURES), within=(0, 1))
    x, layers = epoch_axis(last), []
    y = share_axis(alt.Y, "value", "training images")
    for field, words in MEASURES.items():
        rows = [
            {"loss": row["loss"], "epoch": row["epoch"], "measure": words, "runs": row[f"{field}_n"]}
            | {"value": row[field], "value_low": row[f"{field}_low"], "value_high": row[f"{field}_high"]}
            for row in averaged
        ]
        tips = [
            alt.Tooltip("loss:N"),
            alt.Tooltip("measure:N"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("value:Q", title="share", format=".1%"),
            alt.Tooltip("interval:N", title="95% interval"),
            alt.Tooltip("runs:Q"),
        ]
        line = alt.Chart(values(rows)).transform_calculate(interval=interval_words("value", "runs"))
        line = line.mark_line(strokeDash=[1, 0] if field == "j1" else [6, 4])
        layers += [
            band(rows, x, "value", y, names),
            line.encode(x=x, y=y, color=by_loss(names), opacity=dimmed(), tooltip=tips),
        ]
    ends = [{"name": field.upper(), "epoch": last, "value": row[field]} for row in averaged[-1:] for field in MEASURES]
    label = alt.Chart(values(apart(ends, "value", 0.12))).mark_text(align="left", dx=7, fontSize=10, clip=False)
    layers.append(label.encode(x=x, y=alt.Y("place:Q"), text=alt.Text("name:N")))
    finals = [
        {"measure": f"published {MEASURES[field]}", "value": value, "epoch": last, "filled": field == "j1"}
        for field, value in published.items()
    ]
    for filled in (True, False):
        part = [row for row in finals if row["filled"] is filled]
        if part:
            diamond = alt.Chart(values(part)).mark_point(
                shape="diamond", size=70, color=INK, filled=filled, opacity=0.9, clip=False
            )
            tips = [alt.Tooltip("measure:N"), alt.Tooltip("value:Q", title="final", format=".1%")]
            layers.append(diamond.encode(x=x, y=y, tooltip=tips))
    return [rule(1 - float(np.mean(one.last("realised_rate")))), *layers]
