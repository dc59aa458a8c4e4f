"""A diagram of the parameters at which the layer-peeled model collapses to zero, by the exact and printed threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byrote.checks import require
from byrote.figures.style import INK
from byrote.theory import layer_peeled

if TYPE_CHECKING:
    import altair as alt

__all__ = ["collapse_diagram"]

_CELLS = (54, 40)


def collapse_diagram(num_classes: Sequence[int] = (2, 10), positive: bool = True) -> alt.HConcatChart:
    """Draw the logit gap d* of the global minimum by sqrt(lambda_W lambda_H) and alpha: a panel for each N.

    Beyond the solid line W = H = 0 is the minimum; the dashed line is the condition printed in MD's Theorem 3.2.
    Between the two lines the theorem's condition holds although the minimizer is zero.

    >>> len(collapse_diagram((2, 3)).hconcat)
    2
    """
    vega = require("altair", "report")
    panels = [_panel(vega, N, positive, legend=k == len(num_classes) - 1) for k, N in enumerate(num_classes)]
    chart: alt.HConcatChart = vega.hconcat(*panels, spacing=34).resolve_scale(color="independent")
    return chart


def _panel(alt: Any, N: int, positive: bool, legend: bool) -> Any:
    edges = np.geomspace(1e-4, 1, _CELLS[0] + 1)
    steps = np.linspace(0, 1, _CELLS[1] + 1)
    centers, heights = np.sqrt(edges[:-1] * edges[1:]), (steps[:-1] + steps[1:]) / 2
    root, alpha = np.meshgrid(centers, heights, indexing="ij")
    gap = np.asarray(layer_peeled(N, alpha, root, root, positive).gap)
    corner, floor = np.meshgrid(edges[:-1], steps[:-1], indexing="ij")
    touched = ~np.asarray(layer_peeled(N, floor, corner, corner, positive).collapsed)
    rows = [
        {"x": edges[i], "x2": edges[i + 1] * 1.02, "y": steps[j], "y2": steps[j + 1] + 0.002, "gap": float(gap[i, j])}
        for i in range(_CELLS[0])
        for j in range(_CELLS[1])
        if touched[i, j]  # the orange strip is drawn over the part of a cell beyond the threshold
    ]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", domain=[1e-4, 4], nice=False),
        axis=alt.Axis(title="√(λ_W λ_H)", grid=False, format="~g", values=[1e-4, 1e-3, 1e-2, 1e-1, 1]),
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title="smoothing α", grid=False))
    fill = alt.Color(
        "gap:Q",
        scale=alt.Scale(type="sqrt", scheme="viridis", domain=[0, 12]),
        legend=alt.Legend(title="logit gap d*", orient="right", gradientLength=150, offset=8) if legend else None,
    )
    cells = alt.Chart(alt.Data(values=rows)).mark_rect(stroke=None).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=fill)
    exact, printed = _thresholds(N, positive)
    levels = np.linspace(0, 1, len(exact))
    strip = [{"x": float(e), "x2": float(p), "y": float(a)} for e, p, a in zip(exact, printed, levels, strict=True)]
    between = alt.Chart(alt.Data(values=strip)).mark_area(color="#F5D99A", opacity=1, orient="horizontal")
    lines = []
    for border, dash, width in ((exact, [1, 0], 2.4), (printed, [6, 4], 1.8)):
        at = [{"x": float(b), "y": float(a), "k": k} for k, (b, a) in enumerate(zip(border, levels, strict=True))]
        line = alt.Chart(alt.Data(values=at)).mark_line(stroke=INK, strokeDash=dash, strokeWidth=width)
        lines.append(line.encode(x=x, y=y, order="k:O"))
    words = [
        {"x": 1.6e-4, "y": 0.5, "t": "neural collapse"},
        {"x": 3.6, "y": 0.5, "t": "W = H = 0"},
    ]
    notes = [
        alt.Chart(alt.Data(values=[word]))
        .mark_text(align=("left", "right")[k], fontSize=12, fontWeight=600, color=("white", INK)[k])
        .encode(x=x, y=y, text="t:N")
        for k, word in enumerate(words)
    ]
    title = alt.Title(
        f"N = {N}",
        subtitle="solid: exact threshold; dashed: printed; orange: printed condition holds, minimizer is 0",
        subtitleFontSize=9.5,
    )
    return alt.layer(cells, between.encode(x=x, x2="x2:Q", y=y), *lines, *notes).properties(
        width=330, height=250, title=title
    )


def _thresholds(N: int, positive: bool, points: int = 125) -> tuple[Any, Any]:
    """The values of sqrt(lambda_W lambda_H) on the exact and on the printed threshold, for alpha from 0 to 1."""
    alpha = np.linspace(0, 1, points)
    exact = (1 - alpha) / (2 * N * np.sqrt(N / (N - 1)) if positive else 2 * N)
    printed = (1 - (N - 1) / N * alpha) / (2 * np.sqrt(N - 1))
    return np.maximum(exact, 1e-4), np.maximum(printed, 1e-4)
