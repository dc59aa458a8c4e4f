"""Dilation against memorization for networks with different numbers M of features."""

from __future__ import annotations

from dataclasses import replace

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import Selection, losses_of, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import panels
from byrote.figures.memorization_dilation import X, draw_panel, fits, has_line

__all__ = ["feature_width"]


@figure(
    "feature-width",
    title="Memorization and dilation at other widths of the features",
    paper="MD Fig. 2",
    order=60,
    needs=("feature_width", *X, "nc1_test"),
)
def feature_width(analysis: Analysis) -> Drawing | None:
    """Draw NC1 against raw and relative mem for the data set with the most feature widths M: a panel per width."""
    where, family = _family(analysis)
    if len(family) < 2:
        return None
    common = set.intersection(*(set(one.losses) for one in family.values()))
    family = {width: one.of_losses(*common) for width, one in family.items()}
    names = losses_of(family.values())
    if not names:
        return None
    pairs = [(width, one, x) for x in X for width, one in family.items()]
    charts = [draw_panel(one, x, "nc1_test", names) for _, one, x in pairs]
    titles = [alt.Title(f"M = {width}", subtitle=_slopes(one, x)) for width, one, x in pairs]
    caption = (
        f"{where}: NC1 on test data against memorization, for networks whose features have M dimensions. The upper row "
        "has raw mem, in feature units; the lower row has mem / D, a pure number. Marks and lines are as in the "
        "figure of all data sets; the slopes of the fitted lines are above each panel. "
        f"{runs_text(list(family.values()), nc1=True)}"
    )
    return Drawing(panels(charts, titles, columns=len(family), size=(200, 180), names=names), caption)


def _family(analysis: Analysis) -> tuple[str, dict[int, Selection]]:
    """The title and the runs by width M of the main setting that was run at the most widths."""
    columns: list[tuple[str, dict[int, Selection]]] = []
    for setting in analysis.grouped(without=("network.feature_width",)):
        every = Selection.of(analysis, setting)
        width = every.last("feature_width")
        family = {
            one: replace(every.where(width == one), setting=replace(setting, title=f"M = {one}"))
            for one in np.unique(width[np.isfinite(width)]).astype(int).tolist()
        }
        drawable = {one: runs for one, runs in family.items() if has_line(runs)}
        if setting.speaks:
            columns.append((setting.title, dict(list(drawable.items())[:5])))
    return max(columns, key=lambda one: (len(one[1]), sum(map(len, one[1].values()))), default=("", {}))


def _slopes(one: Selection, x: str) -> str:
    return "slopes  " + "  ".join(f"{loss} {line.slope:.2g}" for loss, line in fits(one, x, "nc1_test").items())
