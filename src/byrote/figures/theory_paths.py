"""Path dependence in the model: nonconvex losses have two local minima, and only one of the two memorizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from byrote.checks import require
from byrote.figures.style import INK, LOSSES
from byrote.theory import Problem, multiclass_dilation
from byrote.theory.logit_losses import Kind

if TYPE_CHECKING:
    import altair as alt

__all__ = ["two_minima"]

_LOSSES: tuple[tuple[str, Kind, float], ...] = (
    ("CE", "smoothing", 0.0),
    ("MSE", "squared", 0.0),
    ("MSE-p", "squared-probabilities", 0.0),
    ("RLL", "robust-log", 0.1),
)


def two_minima(num_classes: int = 2, penalty: float = 1e-4, slope: float = 0.3, points: int = 16) -> alt.HConcatChart:
    """Draw the share of full memorization at each local minimum against eta; the global minimum has a filled mark.

    There is one panel per loss. Convex losses (CE, MSE on logits) have one minimum. The bounded losses have two minima
    over a range of eta, and training ends in one or the other, depending on the start (claim C4).

    >>> len(two_minima(points=2).hconcat)
    4
    """
    vega = require("altair", "report")
    panels = []
    for position, (name, kind, alpha) in enumerate(_LOSSES):
        rows = []
        for eta in np.geomspace(3e-3, 1, points):
            solution = multiclass_dilation(Problem(alpha, penalty, penalty, float(eta), slope, loss=kind), num_classes)
            for rank, one in enumerate(solution.minima):
                kind_of_minimum = "global minimum" if rank == 0 else "local minimum"
                rows.append({"eta": float(eta), "share": one.r / solution.r_max, "minimum": kind_of_minimum})
        panels.append(_panel(vega, name, rows, position))
    chart: alt.HConcatChart = vega.hconcat(*panels, spacing=18)
    return chart


def _panel(alt: Any, name: str, rows: list[dict[str, Any]], position: int) -> Any:
    x = alt.X(
        "eta:Q",
        scale=alt.Scale(type="log", domain=[2.5e-3, 1.2], nice=False),
        axis=alt.Axis(title="η", format="~g", values=[0.01, 0.1, 1]),
    )
    title = "share of full memorization r/r_max" if position == 0 else None
    y = alt.Y("share:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title=title, labels=position == 0, format=".0%"))
    color = LOSSES[name].color
    dots = alt.Chart(alt.Data(values=rows)).mark_point(size=62, strokeWidth=1.7, color=color, opacity=1)
    fill = alt.condition("datum.minimum === 'global minimum'", alt.value(color), alt.value("white"))
    subtitle = ("convex: one minimum", "convex: one minimum", "bounded", "bounded; open: local only")[position]
    chart = dots.encode(x=x, y=y, fill=fill)
    half = alt.Chart(alt.Data(values=[{"share": 0.5}])).mark_rule(strokeDash=[2, 3], opacity=0.4, stroke=INK)
    return alt.layer(half.encode(y=y), chart).properties(
        width=170, height=210, title=alt.Title(name, subtitle=subtitle, subtitleFontSize=10)
    )
