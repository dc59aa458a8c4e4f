"""Optimal dilation against the noise rate under several losses, in the raw and the scale-free model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from byrote.checks import require
from byrote.figures.style import INK, LOSSES
from byrote.theory import Dilation, Problem, SquaredDilation, dilation, scale_free_dilation, squared_dilation

if TYPE_CHECKING:
    import altair as alt

__all__ = ["dilation_against_noise"]


def dilation_against_noise(
    alpha: float = 0.1, penalty: float = 1e-3, slope: float = 1.0, law: str = "circle"
) -> alt.HConcatChart:
    """Draw r*/D against eta under CE, LS, LR and squared error, in the paper's model and its scale-free variant.

    Thin dotted lines are r_max / D, which means full memorization. The scale-free slope is C_MD divided by D under CE,
    so that CE has the same curve in both panels.

    >>> len(dilation_against_noise().hconcat)
    2
    """
    vega = require("altair", "report")
    eta = np.geomspace(1e-3, 1, 90)
    raw: dict[str, Dilation | SquaredDilation] = {
        "CE": dilation(0.0, penalty, penalty, eta, slope, law),
        "LS": dilation(alpha, penalty, penalty, eta, slope, law),
        "LR": dilation(alpha, penalty, penalty, eta, slope, law, loss="relaxation"),
        "MSE": squared_dilation(Problem(0.0, penalty, penalty, eta, slope)),
    }
    free = slope / float(np.asarray(raw["CE"].distance).flat[0])
    relative: dict[str, Dilation | SquaredDilation] = {
        "CE": scale_free_dilation(Problem(0.0, penalty, penalty, eta, free, law)),
        "LS": scale_free_dilation(Problem(alpha, penalty, penalty, eta, free, law)),
        "LR": scale_free_dilation(Problem(alpha, penalty, penalty, eta, free, law, loss="relaxation")),
        "MSE": squared_dilation(Problem(0.0, penalty, penalty, eta, free * np.asarray(raw["MSE"].distance))),
    }
    first = _panel(vega, eta, raw, "memorization as in the paper", f"|u − h| in feature units, C_MD = {slope:g}")
    second = _panel(vega, eta, relative, "scale-free: memorization ÷ D", f"C = {free:.3g}, equal to C_MD / D under CE")
    chart: alt.HConcatChart = vega.hconcat(first, second, spacing=34).resolve_scale(y="shared")
    return chart


def _panel(alt: Any, eta: Any, solved: dict[str, Dilation | SquaredDilation], title: str, subtitle: str) -> Any:
    rows, most = [], []
    for name, one in solved.items():
        full = np.asarray(one.r_max) / np.asarray(one.distance)
        for e, d, m in zip(eta, np.asarray(one.dilation), full, strict=True):
            rows.append({"eta": float(e), "dilation": float(d), "loss": name})
            if m <= 2:
                most.append({"eta": float(e), "dilation": float(m), "loss": name})
    names = list(solved)
    color = alt.Color(
        "loss:N",
        scale=alt.Scale(domain=names, range=[LOSSES[name].color for name in names]),
        legend=alt.Legend(orient="top", symbolType="stroke", title=None),
    )
    x = alt.X(
        "eta:Q",
        scale=alt.Scale(type="log", domain=[1e-3, 1], nice=False),
        axis=alt.Axis(title="η = corrupted / clean", format="~g", values=[1e-3, 1e-2, 1e-1, 1]),
    )
    y = alt.Y(
        "dilation:Q",
        scale=alt.Scale(type="log", domain=[1e-3, 2], nice=False),
        axis=alt.Axis(title="optimal dilation r*/D", format="~g", values=[1e-3, 1e-2, 1e-1, 1]),
    )
    full_lines = alt.Chart(alt.Data(values=most)).mark_line(strokeWidth=1, strokeDash=[2, 3], opacity=0.75)
    lines = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=2.4)
    note = alt.Chart(alt.Data(values=[{"eta": 1.25e-3, "dilation": 1.4, "t": "dotted: r_max / D, full memorization"}]))
    return alt.layer(
        full_lines.encode(x=x, y=y, color=color),
        lines.encode(x=x, y=y, color=color),
        note.mark_text(align="left", fontSize=10.5, color=INK, opacity=0.85).encode(x=x, y=y, text="t:N"),
    ).properties(width=330, height=250, title=alt.Title(title, subtitle=subtitle))
