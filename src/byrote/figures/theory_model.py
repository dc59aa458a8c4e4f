"""MD's Fig. 3 to scale: computed solutions of the memorization-dilation model in the plane of the two class means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from byrote.checks import require
from byrote.figures.style import INK, LOSSES
from byrote.theory import Dilation, dilation

if TYPE_CHECKING:
    import altair as alt

__all__ = ["model_plane"]

_SIDE = 330  # width and height of a panel in pixels


def model_plane(solutions: Mapping[str, Dilation], points: int = 140) -> alt.HConcatChart:
    """One panel per solution, on one scale: class means, spread of clean samples, memorized samples, and forces.

    Args:
        solutions: for each loss name, the solution at one parameter point. Clean samples are drawn in a disc with the
            same standard deviation r, whatever the law of the solution.
        points: the number of clean samples drawn around each class mean.

    Raises:
        ValueError: a solution is a sweep, or no solution was given.

    >>> from byrote.theory import dilation
    >>> chart = model_plane({"CE": dilation(alpha=0., eta=.05), "LS": dilation(alpha=.1, eta=.05)})
    >>> len(chart.hconcat)
    2
    """
    vega = require("altair", "report")
    if not solutions or any(not isinstance(one.r, float) for one in solutions.values()):
        raise ValueError(
            "model_plane expects one or more solutions, each at a single parameter point; got none or a sweep"
        )
    ends = [float(one.feature_norm) + 1.5 * float(one.r) for one in solutions.values()]
    bottom = min(-1.5 * float(one.r) for one in solutions.values())
    domain = [min(bottom, -0.12 * max(ends)), max(ends)]
    panels = [_panel(vega, name, one, domain, points) for name, one in solutions.items()]
    chart: alt.HConcatChart = vega.hconcat(*panels).resolve_scale(color="independent")
    return chart


def _panel(alt: Any, name: str, solved: Dilation, domain: list[float], points: int) -> Any:
    color = LOSSES[name].color if name in LOSSES else INK
    x = alt.X("x:Q", scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(title="along h1", grid=False))
    y = alt.Y("y:Q", scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(title="along h2", grid=False))

    def layer(rows: list[dict[str, Any]]) -> Any:
        return alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)

    a, r = float(solved.feature_norm), float(solved.r)
    u1, u2 = (float(solved.along), float(solved.across)), (float(solved.across), float(solved.along))
    h1, h2 = (a, 0.0), (0.0, a)
    apart = float(np.hypot(u1[0] - h2[0], u1[1] - h2[1]))
    axes = layer(_line((0, 0), (domain[1], 0), 0) + _line((0, 0), (0, domain[1]), 1)).mark_line(
        strokeWidth=1, stroke=INK, opacity=0.45
    )
    border = layer(_line((domain[0], domain[0]), (domain[1], domain[1]), 2)).mark_line(
        strokeDash=[3, 3], strokeWidth=1, stroke=INK, opacity=0.5
    )
    cloud = layer(_disc(h1, r, points, "observed 1") + _disc(h2, r, points, "observed 2")).mark_circle(
        size=9, color=color, opacity=0.35
    )
    spread = layer(_circle(h1, r, 0) + _circle(h2, r, 1)).mark_line(strokeWidth=1.4, stroke=color)
    reach = layer(_arc(h2, apart, 2)).mark_line(strokeWidth=1, stroke=INK, strokeDash=[2, 3], opacity=0.6)
    path = layer(_path(solved)).mark_line(strokeWidth=1.6, stroke=color, opacity=0.75, strokeDash=[5, 3])
    arrow = layer(_line(h2, u1, 3)).mark_line(strokeWidth=2.2, stroke=color)
    order = {"order": alt.Order("k:O"), "detail": "g:N"}
    lines = [one.encode(**order) for one in (axes, border, spread, reach, path, arrow)]
    means = layer([{"x": h1[0], "y": h1[1]}, {"x": h2[0], "y": h2[1]}]).mark_point(
        shape="cross", size=130, filled=True, color=INK, opacity=1
    )
    noisy = layer([{"x": u1[0], "y": u1[1]}, {"x": u2[0], "y": u2[1]}]).mark_point(
        shape="diamond", size=150, filled=True, color=color, stroke="white", strokeWidth=1, opacity=1
    )
    words = _words(solved, (h1, h2, u1, u2))
    notes = [
        layer([word])
        .mark_text(align=word["align"], dx=word["dx"], dy=word["dy"], fontSize=12, color=INK)
        .encode(text="t:N")
        for word in words
    ]
    title = f"{name}: D = {float(solved.distance):.2f}, r/D = {float(solved.dilation):.3f}"
    share = float(solved.r) / float(solved.r_max)
    line = f"memorization η|h2 − u1| = {float(solved.memorization):.3f}, {share:.0%} of r_max"
    return alt.layer(cloud, *lines, means, noisy, *notes).properties(
        width=_SIDE, height=_SIDE, title=alt.Title(title, subtitle=line)
    )


def _words(solved: Dilation, at: tuple[tuple[float, float], ...]) -> list[dict[str, Any]]:
    h1, h2, u1, u2 = at
    top = 0.98 * (float(solved.feature_norm) + 1.2 * float(solved.r))
    middle = ((h2[0] + u1[0]) / 2, (h2[1] + u1[1]) / 2)
    names = (
        (h1, "h1", "left", 10, -9),
        (h2, "h2", "right", -9, -9),
        (u1, "u1: true 2, observed 1", "right", -2, 30),
        (u2, "u2", "left", 10, -2),
        (middle, "memorized", "right", -8, 8),
        ((top, top), "decision boundary", "right", -14, 2),
        ((h1[0], -float(solved.r)), "r", "center", 0, 10),
    )
    return [{"x": p[0], "y": p[1], "t": t, "align": align, "dx": dx, "dy": dy} for p, t, align, dx, dy in names]


def _line(start: tuple[float, float], end: tuple[float, float], group: int) -> list[dict[str, Any]]:
    return [{"x": p[0], "y": p[1], "k": k, "g": group} for k, p in enumerate((start, end))]


def _circle(center: tuple[float, float], radius: float, group: int) -> list[dict[str, Any]]:
    return [
        {"x": center[0] + radius * float(np.cos(t)), "y": center[1] + radius * float(np.sin(t)), "k": k, "g": group}
        for k, t in enumerate(np.linspace(0, 2 * np.pi, 73))
    ]


def _arc(center: tuple[float, float], radius: float, group: int) -> list[dict[str, Any]]:
    """The part of the constraint's circle around h2 that is below h2 and in the positive quadrant."""
    angles = np.linspace(-np.pi / 2, 0, 61)
    points = [(center[0] + radius * np.cos(t), center[1] + radius * np.sin(t)) for t in angles]
    return [{"x": float(x), "y": float(y), "k": k, "g": group} for k, (x, y) in enumerate(points) if y >= 0]


def _disc(center: tuple[float, float], r: float, points: int, name: str) -> list[dict[str, Any]]:
    """Points for equal parts of the area of a disc with radius sqrt(2) r; their standard deviation is r."""
    k = np.arange(points) + 0.5
    radius, angle = np.sqrt(2 * k / points) * r, k * np.pi * (3 - np.sqrt(5))
    x, y = center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)
    return [{"x": float(p), "y": float(q), "of": name} for p, q in zip(x, y, strict=True)]


def _path(solved: Dilation) -> list[dict[str, Any]]:
    """The path of u1 from h2 to h1 as C_MD grows from 0 to infinity and all else is fixed."""
    slopes = np.geomspace(1e-2, 1e2, 60)
    alpha, l_w, l_h, eta = (float(one) for one in (solved.alpha, solved.lambda_w, solved.lambda_h, solved.eta))
    sweep = dilation(alpha, l_w, l_h, eta, slopes, solved.law, solved.width, solved.loss)
    x, y = np.asarray(sweep.along), np.asarray(sweep.across)
    return [{"x": float(p), "y": float(q), "k": k, "g": 9} for k, (p, q) in enumerate(zip(x, y, strict=True))]
