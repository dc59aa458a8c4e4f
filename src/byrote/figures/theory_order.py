"""A map of the parameters for which Theorem 4.3's order of dilations holds, and for which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byrote.checks import require
from byrote.figures.style import INK
from byrote.theory import Problem, eta_bound, order_of_dilations

if TYPE_CHECKING:
    import altair as alt

__all__ = ["order_map"]

_CELLS = (52, 40)


def order_map(
    alpha: float = 0.1, penalty: float = 1e-3, laws: Sequence[str] = ("circle", "two-point")
) -> alt.HConcatChart:
    """Draw the ratio of dilations under CE and LS by eta and C_MD, at lambda_W = lambda_H = penalty: a panel per law.

    Blue: CE dilates more, as the theorem says; orange: LS dilates more. Left of the dashed line Assumption 4.2
    holds. On the dotted line memorization under CE is half of full memorization, r*/r_max = 1/2.

    >>> len(order_map(laws=("circle",)).hconcat)
    1
    """
    vega = require("altair", "report")
    panels = [_panel(vega, law, alpha, penalty, k == len(laws) - 1) for k, law in enumerate(laws)]
    chart: alt.HConcatChart = vega.hconcat(*panels, spacing=34).resolve_scale(color="independent")
    return chart


def _panel(alt: Any, law: str, alpha: float, penalty: float, legend: bool) -> Any:
    across, up = np.geomspace(1e-4, 1, _CELLS[0] + 1), np.geomspace(0.03, 30, _CELLS[1] + 1)
    eta, slope = np.meshgrid(np.sqrt(across[:-1] * across[1:]), np.sqrt(up[:-1] * up[1:]), indexing="ij")
    order = order_of_dilations(Problem(alpha, penalty, penalty, eta, slope, law))
    ratio = np.asarray(order.ratio)
    rows = [
        {"x": across[i], "x2": across[i + 1] * 1.02, "y": up[j], "y2": up[j + 1] * 1.02, "ratio": float(ratio[i, j])}
        for i in range(_CELLS[0])
        for j in range(_CELLS[1])
    ]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", domain=[1e-4, 1], nice=False),
        axis=alt.Axis(title="η = corrupted / clean", grid=False, format="~g", values=[1e-4, 1e-3, 1e-2, 1e-1, 1]),
    )
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(type="log", domain=[0.03, 30], nice=False),
        axis=alt.Axis(title="slope C_MD", grid=False, format="~g", values=[0.1, 1, 10]),
    )
    fill = alt.Color(
        "ratio:Q",
        scale=alt.Scale(scheme="blueorange", reverse=True, domain=[0.5, 1.5], domainMid=1, clamp=True),
        legend=alt.Legend(title="(r/D) CE ÷ LS", orient="right", gradientLength=150, offset=8) if legend else None,
    )
    cells = alt.Chart(alt.Data(values=rows)).mark_rect(stroke=None).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=fill)
    fine = np.geomspace(0.03, 30, 48)
    turns, half = _crossings(alpha, penalty, law, fine)
    bound = eta_bound(Problem(alpha, penalty, penalty, slope=fine))
    curves = [(bound, [6, 4], 1.8), (turns, [1, 0], 2.4), (half, [1, 3], 1.8)]
    lines = [_curve(alt, x, y, at, fine, dash, width) for at, dash, width in curves]
    words: list[dict[str, Any]] = [
        {"x": 1.4e-4, "y": 19, "t": "inside Assumption 4.2", "a": "left", "c": "white"},
        {"x": 1.4e-4, "y": 0.042, "t": "CE dilates more", "a": "left", "c": "white"},
    ]
    if (ratio < 1).any():
        lowest = float(slope[ratio < 1].min())
        words.append({"x": 0.93, "y": lowest / 1.35, "t": "LS dilates more", "a": "right", "c": "black"})
    notes = [
        alt.Chart(alt.Data(values=[word]))
        .mark_text(align=word["a"], fontSize=12, fontWeight=600, color=word["c"])
        .encode(x=x, y=y, text="t:N")
        for word in words
    ]
    title = alt.Title(
        f"{law} law",
        subtitle="dashed: Assumption 4.2.3; solid: ratio 1; dotted: r*(CE) = r_max / 2",
        subtitleFontSize=9.5,
    )
    return alt.layer(cells, *lines, *notes).properties(width=330, height=250, title=title)


def _crossings(alpha: float, penalty: float, law: str, slopes: Any) -> tuple[Any, Any]:
    """For each slope, the eta at which the ratio falls below 1, and the eta at which r*/r_max under CE falls below 1/2.

    An eta that does not exist is NaN.
    """
    eta = np.geomspace(1e-4, 1, 160)
    grid, slope = np.meshgrid(eta, slopes, indexing="ij")
    order = order_of_dilations(Problem(alpha, penalty, penalty, grid, slope, law))
    rows = []
    for above in (np.asarray(order.ratio) > 1, np.asarray(order.memorized) > 0.5):
        last = above.sum(axis=0)
        rows.append(np.where((last > 0) & (last < len(eta)), eta[np.minimum(last, len(eta) - 1)], np.nan))
    return rows[0], rows[1]


def _curve(alt: Any, x: Any, y: Any, at: Any, slopes: Any, dash: list[int], width: float) -> Any:
    rows = [
        {"x": float(e), "y": float(s), "k": k}
        for k, (e, s) in enumerate(zip(at, slopes, strict=True))
        if np.isfinite(e) and 1e-4 <= e <= 1
    ]
    line = alt.Chart(alt.Data(values=rows)).mark_line(stroke=INK, strokeDash=dash, strokeWidth=width)
    return line.encode(x=x, y=y, order="k:O")
