"""Dilation (the spread of test features) against memorization, with one fitted line per loss."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis
from byrote.analysis.lines import LineFit
from byrote.analysis.series import DATA, Selection, fit_lines, losses_of, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, values

__all__ = ["draw_panel", "fits", "has_line", "memorization_dilation"]

X = {
    "mem_noise_weighted": "mem (feature units)",
    "mem_noise_weighted_relative": "mem / D",
}
Y = {"nc1_test": "NC1 on test data", "sqrt_nc1_test": "√NC1 on test data"}


@figure(
    "memorization-dilation",
    title="What is memorized, and how far the features of unseen images spread",
    paper="MD Fig. 1 (top)",
    order=10,
    needs=(*X, "nc1_test"),
)
def memorization_dilation(analysis: Analysis) -> Drawing | None:
    """Draw NC1 and its square root against raw and relative memorization at the end of training."""
    chosen = one_each(rated(analysis), DATA, has_line)
    if not chosen:
        return None
    names = losses_of(chosen)
    charts, titles = [], []
    for one in chosen:
        for y in Y:
            for x in X:
                charts.append(draw_panel(one, x, y, names))
                titles.append(_heading(one, x, y))
    caption = (
        "Each faint mark is a run at the end of training; each full mark is the mean over seeds at one noise rate. "
        "Each line is a least-squares fit over runs, with its R² above the panel. mem is MD eq. 3 divided by the "
        "number of training samples: how far the features of wrongly labeled images are from the test mean of their "
        "true class, in the units of the features. mem / D is the same distance in units of D, the distance between "
        "the test class means. NC1 is a ratio of variances, and √NC1 is a ratio of standard deviations; mem / D, NC1 "
        f"and √NC1 are pure numbers. {runs_text(chosen, nc1=True)}"
    )
    columns, size = (4, (200, 180)) if len(chosen) > 1 else (2, (390, 250))
    return Drawing(panels(charts, titles, columns, size, names), caption)


def has_line(one: Selection) -> bool:
    """Whether NC1 is finite at three or more noise rates, the fewest to which a line is fitted."""
    return len(one.where(np.isfinite(one.last("nc1_test"))).rates) >= 3


def _reading(one: Selection, y: str) -> NDArray[np.float64]:
    """A reading of each run at the end of training; the square root of NC1 is not stored and is computed here."""
    return np.sqrt(one.last("nc1_test")) if y == "sqrt_nc1_test" else one.last(y)


def fits(one: Selection, x: str, y: str) -> dict[str, LineFit]:
    """The least-squares line of each loss that has both values in three or more runs."""
    return fit_lines(one, one.last(x), _reading(one, y))


def draw_panel(one: Selection, x: str, y: str, names: list[str]) -> list[Any]:
    """Draw the panel of one setting: every run, the means over seeds, and a line per loss."""
    one = one.where(np.isfinite(one.last(x)) & np.isfinite(one.last("nc1_test")))
    ends = _reading(one, y)
    columns = (one.labels, one.rate, one.seeds, one.last(x), ends)
    listed = zip(*(column.tolist() for column in columns), strict=True)
    runs = [dict(zip(("loss", "rate", "seed", x, y), row, strict=True)) for row in listed]
    means = one.means(("loss", "rate"), (), {x: one.last(x), y: ends})
    lines = fits(one, x, y)
    axis_x = alt.X(f"{x}:Q", title=X[x], scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4))
    axis_y = alt.Y(f"{y}:Q", title=Y[y], scale=alt.Scale(zero=True))
    color, shape = by_loss(names), by_loss(names, "shape")
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("rate:Q", title="nominal η"),
        alt.Tooltip(f"{x}:Q", title="mem" if x == "mem_noise_weighted" else "mem / D", format=".3f"),
        alt.Tooltip(f"{y}:Q", title=Y[y], format=".3f"),
    ]
    marks = {"x": axis_x, "y": axis_y, "color": color, "shape": shape}
    every = alt.Chart(values(runs)).mark_point(filled=True, size=22)
    every = every.encode(**marks, opacity=dimmed(0.3), tooltip=[*tips, alt.Tooltip("seed:Q")])
    mean = alt.Chart(values(means)).mark_point(filled=True, size=70)
    mean = mean.encode(**marks, opacity=dimmed(), tooltip=[*tips, alt.Tooltip(f"{y}_n:Q", title="seeds")])
    return [_lines(lines, one, x, y, axis_x, axis_y, names), every, mean]


def _lines(
    lines: dict[str, LineFit], one: Selection, x: str, y: str, axis_x: Any, axis_y: Any, names: list[str]
) -> Any:
    corners = []
    for loss, line in lines.items():
        seen = one.of_losses(loss).last(x)
        corners += [
            {"loss": loss, x: float(at), y: line.intercept + line.slope * float(at)} for at in (seen.min(), seen.max())
        ]
    return (
        alt.Chart(values(corners))
        .mark_line(strokeWidth=1.8)
        .encode(x=axis_x, y=axis_y, color=by_loss(names), strokeDash=by_loss(names, "dash"), opacity=dimmed())
    )


def _heading(one: Selection, x: str, y: str) -> alt.Title:
    """A title with the name of the setting, and a subtitle with the R² of the fit for each loss."""
    words = [f"{loss} {_share(line.r_squared)}" for loss, line in fits(one, x, y).items()]
    halves = [words] if len(words) < 4 else [words[: (len(words) + 1) // 2], words[(len(words) + 1) // 2 :]]
    return alt.Title(one.title, subtitle=["R²  " + "  ".join(halves[0]), *("  ".join(rest) for rest in halves[1:])])


def _share(r2: float) -> str:
    """An R² with two digits; a dash if NC1 does not vary.

    >>> _share(0.931), _share(1.0), _share(float("nan"))
    ('.93', '1.00', '–')
    """
    return f"{r2:.2f}".replace("0.", ".", 1) if np.isfinite(r2) else "–"
