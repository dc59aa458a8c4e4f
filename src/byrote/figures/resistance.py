"""Which losses resist memorization, which memorize, and which underfit: J2 against J1 at the end of training."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis, mean_over_seeds
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, rated, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, note, panels, rate_text, share_axis, values

__all__ = ["resistance"]


@figure(
    "resistance",
    title="Who resists, who memorizes, who underfits",
    paper="LF, resistance gap",
    order=45,
    needs=("j1", "j2", "realised_rate"),
)
def resistance(analysis: Analysis) -> Drawing | None:
    """Draw final J2 against final J1: a panel per setting and noise rate, a mark per loss."""
    chosen = one_each(rated(analysis), NETWORK, lambda one: max(one.rates) > 0 and len(one.losses) >= 2)
    charts, titles = [], []
    names = losses_of(chosen)
    for one in chosen:
        for rate in _rates(one):
            charts.append(_panel(one.at_rate(rate), names))
            titles.append(alt.Title(rate_text(rate), subtitle=one.title))
    if not charts:
        return None
    caption = (
        "Final J2 (the share of training images given their true class) against final J1 (the share given the "
        "observed label), in percent. The dotted line joins the two ways to fit every clean label: a loss that "
        "memorizes ends at the lower right end (J1 = 1, J2 = 1 - ρ), a loss that resists at the upper left end (J1 = "
        "1 - ρ, J2 = 1), where ρ is the share of wrong labels. Losses below the line underfit: they also miss clean "
        f"labels. Faint marks are runs, full marks are means over seeds. {runs_text(chosen)}"
    )
    columns = 3 if len(charts) % 3 == 0 else min(len(charts), 4)
    return Drawing(panels(charts, titles, columns, size=(220, 200), names=names), caption)


def _rates(one: Selection) -> list[float]:
    """The rates above 0 at which at least half of the losses were run; at most four rates."""
    half = len(one.losses) / 2
    return [rate for rate in one.rates if rate > 0 and len(one.at_rate(rate).losses) >= half][-4:]


def _panel(one: Selection, names: list[str]) -> list[Any]:
    rho = mean_over_seeds(one.last("realised_rate"), one.seeds.tolist()).whole
    low = np.floor(max(min(float(np.min(np.r_[one.last("j1"), one.last("j2")])), 1 - rho) - 0.08, 0) * 10) / 10
    domain = (float(low), 1.0)
    x, y = share_axis(alt.X, "j1", "J1, observed label", domain), share_axis(alt.Y, "j2", "J2, true label", domain)
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("j1:Q", title="J1", format=".1%"),
        alt.Tooltip("j2:Q", title="J2", format=".1%"),
    ]
    columns = (one.labels.tolist(), one.last("j1").tolist(), one.last("j2").tolist(), one.seeds.tolist())
    runs = [dict(zip(("loss", "j1", "j2", "seed"), row, strict=True)) for row in zip(*columns, strict=True)]
    marks = {"x": x, "y": y, "color": by_loss(names), "shape": by_loss(names, "shape")}
    every = alt.Chart(values(runs)).mark_point(filled=True, size=22).encode(**marks, opacity=dimmed(0.35), tooltip=tips)
    means = one.means(("loss",), ("j1", "j2"))
    mean = alt.Chart(values(means)).mark_point(filled=True, size=110)
    mean = mean.encode(**marks, opacity=dimmed(), tooltip=[*tips, alt.Tooltip("j1_n:Q", title="runs")])
    ends = [{"j1": 1 - rho, "j2": 1.0}, {"j1": 1.0, "j2": 1 - rho}]
    line = alt.Chart(values(ends)).mark_line(strokeDash=[2, 3], color="currentColor", opacity=0.55, strokeWidth=1.2)
    style: dict[str, Any] = {"fontStyle": "italic", "fontSize": 10, "opacity": 0.85, "clip": False}
    resists = alt.Chart(values(ends[:1])).mark_text(text="resists", dy=-9, **style).encode(x=x, y=y)
    memorizes = alt.Chart(values(ends[1:])).mark_text(text="memorizes", dy=-9, angle=90, **style).encode(x=x, y=y)
    words = [resists, memorizes, note("underfits", 8, 180)]
    return [line.encode(x=x, y=y), every, mean, *words]
