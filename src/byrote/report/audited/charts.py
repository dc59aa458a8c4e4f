"""The picture of an audit: a histogram of label margins, and the labels that the estimate of the noise rate counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from byrote.audit import Audit
from byrote.audit.suspects import KINDS
from byrote.figures import Figure
from byrote.figures.charts import fixed, panels, rule, values

__all__ = ["margins", "picture"]

_REACH = 5.0  # training records log-odds only up to this limit
_BINS = 40
_COLORS = {"fits": "#5B5B5B", "doubtful": "#E69F00", "suspect": "#D55E00", "counted": "#0072B2"}


def margins(audit: Audit) -> NDArray[np.float64]:
    """The log-odds of each given label, averaged over epochs and networks and clipped to [-5, 5]. # (n,)"""
    score = np.clip(audit.samples["score"].astype(np.float64), 1e-12, 1 - 1e-12)
    log_odds: NDArray[np.float64] = np.clip(np.log((1 - score) / score), -_REACH, _REACH)
    return log_odds


def picture(audit: Audit) -> Figure:
    """Draw the margins of all labels and of suspect or doubtful labels, and the labels that the estimate counts."""
    kinds = _kinds(audit)
    every, rare = list(_bins(audit, kinds, list(_COLORS))), list(_bins(audit, kinds, ["doubtful", "suspect"]))
    charts, titles = [_histogram(every)], ["All labels"]
    if rare:
        charts.append(_histogram(rare))
        titles.append("Suspects and doubtful labels alone")
    counted = _counted(audit)
    if counted:
        charts.append(counted)
        titles.append("What was counted")
    caption = (
        "Margin: the log-odds of the given label, averaged over all epochs and networks. A label to the left of 0 "
        "is contradicted by networks that were not trained on its sample. Suspects are the labels to look at first; "
        "a doubtful label is more likely wrong than right, but it is not a suspect."
    )
    if counted:
        caption += (
            " What was counted: labels that differ from the prediction, among the quarter of the samples on which the "
            "networks are surest. The axis orders the labels by how much the networks confuse the class of the label "
            "with the predicted class. Symmetric noise is equally high everywhere, and the networks' own errors are at "
            "the right, so the estimate of the rate counts only the classes at the left."
        )
    return Figure.of("margins", "Margins, and what was counted", "", caption, panels(charts, titles, 3, (262, 190)))


def _kinds(audit: Audit) -> NDArray[Any]:
    """The kind of each label: "fits", "doubtful" or "suspect". # (n,)"""
    doubtful = audit.samples["doubtful"] | (audit.samples["kind"] == KINDS.index("doubtful"))
    return np.where(audit.samples["suspect"], "suspect", np.where(doubtful, "doubtful", "fits"))


def _bins(audit: Audit, kinds: NDArray[Any], shown: list[str]) -> Iterator[dict[str, Any]]:
    """The number of labels of each kind in each bin of the margin, stacked."""
    edges = np.linspace(-_REACH, _REACH, _BINS + 1)
    log_odds = margins(audit)
    floor = np.zeros(_BINS, dtype=np.int64)
    for kind in shown:
        counts = np.histogram(log_odds[kinds == kind], edges)[0]
        for place in np.flatnonzero(counts).tolist():
            low, high = float(edges[place]), float(edges[place + 1])
            base, n = int(floor[place]), int(counts[place])
            yield {"kind": kind, "low": low, "high": high, "base": base, "top": base + n, "labels": n}
        floor += counts


def _color() -> Any:
    return alt.Color("kind:N", scale=fixed(list(_COLORS), list(_COLORS.values())), legend=alt.Legend(title=None))


def _histogram(rows: list[dict[str, Any]]) -> list[Any]:
    axis = alt.X("low:Q", title="margin", scale=alt.Scale(domain=[-_REACH, _REACH], nice=False))
    tips = [
        alt.Tooltip("kind:N"),
        alt.Tooltip("labels:Q", format=","),
        alt.Tooltip("low:Q", title="from", format=".2f"),
    ]
    bars = (
        alt.Chart(values(rows))
        .mark_bar()
        .encode(
            x=axis,
            x2=alt.X2("high:Q"),
            y=alt.Y("base:Q", title="labels"),
            y2=alt.Y2("top:Q"),
            color=_color(),
            tooltip=tips,
        )
    )
    return [bars, rule(0, "x")]


def _counted(audit: Audit) -> list[Any]:
    """The number of labels by the rank of their class; empty if nothing was counted."""
    rate = audit.rate
    if not sum(rate.profile):
        return []
    rows = [
        {"kind": "counted" if rank < rate.counted else "fits", "low": rank, "high": rank + 0.86, "labels": n, "base": 0}
        for rank, n in enumerate(rate.profile)
    ]
    axis = alt.X(
        "low:Q",
        title="classes: confused least → most",
        scale=alt.Scale(domain=[-0.2, len(rows)], nice=False),
        axis=alt.Axis(labels=False, ticks=False, grid=False),
    )
    tips = [alt.Tooltip("labels:Q"), alt.Tooltip("low:Q", title="classes confused less")]
    bars = (
        alt.Chart(values(rows))
        .mark_bar()
        .encode(
            x=axis,
            x2=alt.X2("high:Q"),
            y=alt.Y("base:Q", title="labels"),
            y2=alt.Y2("labels:Q"),
            color=_color(),
            tooltip=tips,
        )
    )
    return [bars]
