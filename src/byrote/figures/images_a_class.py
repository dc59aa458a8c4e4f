"""How many images a loss needs to resist memorization: the memorized share of wrong labels by training set size."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import Selection, losses_of, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, rate_text, rule, share_axis, values

__all__ = ["images_a_class"]

_M = "corrupted_as_observed"
_BAR = 0.1  # the largest share m of memorized wrong labels that claim B3 allows
_FEWEST = 3  # a line needs at least this many training set sizes


@figure(
    "images-a-class",
    title="Wrong labels repeated, by the number of training images",
    order=47,
    needs=(_M, "n_train"),
)
def images_a_class(analysis: Analysis) -> Drawing | None:
    """Draw m against the number of training images per class for the setting with the most sizes: a panel per rate."""
    families = [_sized(Selection.of(analysis, one)) for one in analysis.grouped(without=("data.per_class",))]
    one = max(families, key=lambda family: (len(_sizes(family)), len(family)), default=None)
    if one is None or len(_sizes(one)) < _FEWEST:
        return None
    names = losses_of([one])
    charts = [_panel(one.at_rate(rate), names) for rate in one.rates]
    titles = [alt.Title(rate_text(rate)) for rate in one.rates]
    caption = (
        f"{one.title}: among training images with a wrong label, the share m whose prediction repeats that label at "
        "the end of training, in percent, against the number of training images per class. Marks are means over seeds "
        "with 95% intervals; the dotted line is the bar of claim B3. "
        f"{runs_text([one], by=('loss', 'rate', 'n_train'))}"
    )
    return Drawing(panels(charts, titles, min(len(charts), 3), size=(300, 220), names=names), caption)


def _sizes(one: Selection) -> list[float]:
    """The numbers of training images."""
    return [float(size) for size in np.unique(one.last("n_train"))]


def _sized(one: Selection) -> Selection:
    """The runs with wrong labels, of each loss and rate that was run with enough numbers of training images."""
    noisy = one.where(np.isfinite(one.rate) & (one.rate > 0))
    chosen = np.zeros(len(noisy), dtype=bool)
    for loss in noisy.losses:
        for rate in noisy.rates:
            cell = (noisy.labels == loss) & (noisy.rate == rate)
            chosen |= cell & (len(np.unique(noisy.last("n_train")[cell])) >= _FEWEST)
    return noisy.where(chosen)


def _panel(one: Selection, names: list[str]) -> list[Any]:
    images = one.last("n_train") / one.last("num_classes")
    rows = one.means(("loss", "n_train"), (_M,), {"images": images}, within=(0, 1))
    low, high = float(images.min()), float(images.max())
    x = alt.X(
        "images:Q",
        title="training images per class",
        scale=alt.Scale(type="log", domain=[low / 1.2, high * 1.2], nice=False),
        axis=alt.Axis(values=sorted({float(image) for image in images}), format=",.0f"),
    )
    y = share_axis(alt.Y, _M, "m, wrong labels repeated")
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("images:Q", title="images per class", format=",.0f"),
        alt.Tooltip(f"{_M}:Q", title="m", format=".1%"),
        alt.Tooltip(f"{_M}_n:Q", title="runs"),
    ]
    marks = {"x": x, "y": y, "color": by_loss(names), "opacity": dimmed(), "tooltip": tips}
    line = alt.Chart(values(rows)).mark_line().encode(**marks, strokeDash=by_loss(names, "dash"))
    ends = share_axis(alt.Y, f"{_M}_low", "m, wrong labels repeated")
    whisker = (
        alt.Chart(values(rows))
        .mark_rule()
        .encode(x=x, y=ends, y2=alt.Y2(f"{_M}_high:Q"), color=by_loss(names), opacity=dimmed())
    )
    points = alt.Chart(values(rows)).mark_point(filled=True, size=60).encode(**marks, shape=by_loss(names, "shape"))
    return [rule(_BAR), whisker, line, points]
