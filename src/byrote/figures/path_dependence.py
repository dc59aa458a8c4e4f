"""Path dependence: does a loss still resist memorization if training starts from weights that have memorized?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis, Setting
from byrote.analysis.series import Selection, losses_of, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import band, by_loss, dimmed, epoch_axis, panels, rate_text, share_axis, values

__all__ = ["path_dependence"]

_FROM = " from the weights of "


@figure(
    "path-dependence",
    title="Resisting from scratch, and from weights that had memorized",
    order=48,
    needs=("corrupted_as_observed",),
)
def path_dependence(analysis: Analysis) -> Drawing | None:
    """Draw m against the epoch, for CE and for each loss from both starts: a panel per setting and noise rate."""
    every = [_shown(_named(analysis, setting)) for setting in analysis.grouped(without=("start",))]
    chosen = sorted((one for one in every if len(one)), key=lambda one: (not one.setting.speaks, -len(one)))
    charts, titles = [], []
    names = losses_of(chosen)
    for one in chosen:
        for rate in one.rates:
            charts.append(_panel(one.at_rate(rate), names))
            titles.append(alt.Title(rate_text(rate), subtitle=one.title))
    if not charts:
        return None
    caption = (
        "Among training images with a wrong label, the share m whose prediction repeats that label, in percent, "
        "against the epoch. Each loss is trained from scratch, and from the weights with which another loss ended on "
        "the same labels, starting again at the first learning rate. A loss that resists from any start ends at the "
        f"same m from both starts. Lines are means over seeds, shaded areas their 95% intervals. {runs_text(chosen)}"
    )
    return Drawing(panels(charts, titles, min(len(charts), 3), size=(300, 220), names=names), caption)


def _named(analysis: Analysis, setting: Setting) -> Selection:
    """The runs of settings that differ only in the starting weights; each line is named by its loss and start.

    Starting weights from different losses make different settings, which get separate lines even if their names agree.
    """
    one = Selection.of(analysis, setting)
    kinds, names = one.field("start.kind").tolist(), one.text("start_loss").tolist()
    whole = one.analysis.runs["setting"][one.runs]
    words: dict[int, str] = {}
    for code, kind, name in zip(whole.tolist(), kinds, names, strict=True):
        if kind and code not in words:
            loss = name or kind
            alike = sum(word.startswith(f"{_FROM}{loss}") for word in words.values())
            words[code] = f"{_FROM}{loss}" + (f" ({alike + 1})" if alike else "")
    labels = np.empty(len(one), dtype=object)
    labels[:] = [f"{loss}{words.get(code, '')}" for loss, code in zip(one.labels, whole.tolist(), strict=True)]
    return replace(one, labels=labels).where(np.isfinite(one.rate))


def _shown(one: Selection) -> Selection:
    """The runs of CE and of losses that also started from memorized weights, at the noise rates of the latter runs."""
    twice = [name for name in one.losses if _FROM in name]
    plain = [name.partition(_FROM)[0] for name in twice]
    return one.of_losses("CE", *plain, *twice).at_rate(*one.of_losses(*twice).rates)


def _panel(one: Selection, names: list[str]) -> list[Any]:
    last, field = int(one.epochs[-1]), "corrupted_as_observed"
    rows = one.curves(("loss",), (field,), within=(0, 1))
    x, y = epoch_axis(last), share_axis(alt.Y, field, "m, wrong labels repeated")
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip(f"{field}:Q", title="m", format=".1%"),
        alt.Tooltip(f"{field}_n:Q", title="runs"),
    ]
    marks = {"x": x, "y": y, "color": by_loss(names), "opacity": dimmed(), "tooltip": tips}
    line = alt.Chart(values(rows)).mark_line().encode(**marks, strokeDash=by_loss(names, "dash"))
    ends = alt.Chart(values([row for row in rows if row["epoch"] == last])).mark_point(filled=True, size=60)
    return [band(rows, x, field, y, names), line, ends.encode(**marks, shape=by_loss(names, "shape"))]
