"""Dilation against memorization, with one fitted line a loss."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, values
from byrote.figures.seeds import Line, fit_line, over_seeds
from byrote.figures.settings import Setting, losses_in, references, runs_text
from byrote.store.query import Results
from byrote.table import Table

__all__ = ["draw_panel", "ends", "fits", "memorization_dilation"]

X = {
    "mem_noise_weighted": "mem (feature units)",
    "mem_weighted_relative": "mem / D",
}
Y = {"nc1_test": "NC1 on test data", "sqrt_nc1_test": "√NC1 on test data"}


@figure(
    "memorization-dilation",
    title="What is memorised, and how far the features of unseen images spread",
    paper="MD Fig. 1 (top)",
    order=10,
)
def memorization_dilation(results: Results) -> Drawing | None:
    """NC1 and its root against raw and relative memorization, at the end of training."""
    chosen = [one for one in references(results.history, "dataset", "classes") if _drawable(one.table)]
    if not chosen:
        return None
    names = losses_in(Table.concat([one.table for one in chosen]))
    charts, titles = [], []
    for one in chosen:
        for y in Y:
            for x in X:
                charts.append(draw_panel(one, x, y, names))
                titles.append(_heading(one, x, y))
    caption = (
        "Each faint mark is a run at the end of training, each full mark the mean over seeds at one noise rate, each "
        "line a least-squares fit over runs, its R² above the panel. mem is MD eq. 3 divided by the number of training "
        "samples: how far the features of wrongly labelled images lie from the test mean of their true class, in the "
        "units of the features; mem / D counts it in distances D between test class means, a pure number. NC1 is a "
        "ratio of variances and √NC1 one of standard deviations, both pure numbers. "
        f"{runs_text(chosen, nc1=True)}"
    )
    columns, size = (4, (200, 180)) if len(chosen) > 1 else (2, (390, 250))
    return Drawing(panels(charts, titles, columns, size, names), caption)


def _drawable(table: Table) -> bool:
    """At least three noise rates with a finite NC1: fewer make no line."""
    last = table.final()
    finite = last.where(np.isfinite(last["nc1_test"]))
    return len(set(np.round(finite["rate"], 9).tolist())) >= 3


def ends(table: Table) -> Table:
    """The last row of each run, with the root of NC1."""
    last = table.final()
    return last.with_column("sqrt_nc1_test", np.sqrt(last["nc1_test"]))


def fits(last: Table, x: str, y: str) -> dict[str, Line]:
    """The least-squares line of each loss over its runs, where three or more have both values."""
    found = {loss: fit_line(rows[x], rows[y]) for loss in losses_in(last) for rows in [last.where(loss=loss)]}
    return {loss: line for loss, line in found.items() if line is not None}


def draw_panel(one: Setting, x: str, y: str, names: list[str]) -> Any:
    last = ends(one.table)
    last = last.where(np.isfinite(last[x]) & np.isfinite(last[y]))
    runs = [{name: row[name] for name in ("loss", "rate", "seed", x, y)} for row in last.rows()]
    means = over_seeds(last, ("loss", "rate"), (x, y))
    lines = fits(last, x, y)
    axis_x = alt.X(f"{x}:Q", title=X[x], scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4))
    axis_y = alt.Y(f"{y}:Q", title=Y[y], scale=alt.Scale(zero=True))
    colour, shape = by_loss(names), by_loss(names, "shape")
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("rate:Q", title="nominal η"),
        alt.Tooltip(f"{x}:Q", title="mem" if x == "mem_noise_weighted" else "mem / D", format=".3f"),
        alt.Tooltip(f"{y}:Q", title=Y[y], format=".3f"),
    ]
    marks = {"x": axis_x, "y": axis_y, "color": colour, "shape": shape}
    every = alt.Chart(values(runs)).mark_point(filled=True, size=22)
    every = every.encode(**marks, opacity=dimmed(0.3), tooltip=[*tips, alt.Tooltip("seed:Q")])
    mean = alt.Chart(values(means)).mark_point(filled=True, size=70)
    mean = mean.encode(**marks, opacity=dimmed(), tooltip=[*tips, alt.Tooltip(f"{y}_n:Q", title="seeds")])
    return alt.layer(_lines(lines, last, x, y, axis_x, axis_y, names), every, mean)


def _lines(lines: dict[str, Line], last: Table, x: str, y: str, axis_x: Any, axis_y: Any, names: list[str]) -> Any:
    corners = []
    for loss, line in lines.items():
        seen = last.where(loss=loss)[x]
        corners += [{"loss": loss, x: float(at), y: line.at(float(at))} for at in (seen.min(), seen.max())]
    return (
        alt.Chart(values(corners))
        .mark_line(strokeWidth=1.8)
        .encode(x=axis_x, y=axis_y, color=by_loss(names), strokeDash=by_loss(names, "dash"), opacity=dimmed(0.9))
    )


def _heading(one: Setting, x: str, y: str) -> alt.Title:
    """The setting, and under it R² of each loss's fit."""
    found = fits(ends(one.table), x, y)
    words = [f"{loss} {line.r2:.2f}".replace("0.", ".") for loss, line in found.items()]
    halves = [words] if len(words) < 4 else [words[: (len(words) + 1) // 2], words[(len(words) + 1) // 2 :]]
    return alt.Title(one.title, subtitle=["R²  " + "  ".join(halves[0]), *("  ".join(rest) for rest in halves[1:])])
