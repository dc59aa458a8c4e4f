"""Whether a loss resists, or only does not get there: from its own start, and from weights that had memorised."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.figures.base import Drawing, figure
from byrote.figures.charts import band, by_loss, dimmed, epoch_axis, panels, rate_text, share_axis, values
from byrote.figures.seeds import over_seeds, thinned
from byrote.figures.settings import Setting, losses_in, runs_text, settings
from byrote.store.query import Results
from byrote.table import Table

__all__ = ["path_dependence"]

_FROM = " from memorised weights"


@figure(
    "path-dependence",
    title="Resisting from scratch, and from weights that had memorised",
    order=48,
)
def path_dependence(results: Results) -> Drawing | None:
    """m against the epoch, a panel a setting and noise rate: CE, and each loss started from either weights."""
    history = results.history
    if "start" not in history or not bool(np.any(history["start"] == "memorised")):
        return None
    chosen = [one for one in settings(_named(history)) if _started(one.table)]
    charts, titles = [], []
    names = losses_in(Table.concat([_shown(one) for one in chosen])) if chosen else []
    for one in chosen:
        shown = _shown(one)
        for rate in sorted({float(rate) for rate in _started(shown)}):
            charts.append(_panel(shown.where(rate=rate), names))
            titles.append(alt.Title(rate_text(rate), subtitle=one.with_network))
    if not charts:
        return None
    told = [Setting(one.title, one.facts, _shown(one)) for one in chosen]
    caption = (
        "Of the training images whose label was made wrong the share m whose prediction repeats it, in percent, "
        "against the epoch: trained from scratch, and from the weights that the loss of the start (in these "
        "studies cross-entropy) had ended with on the same labels, at the first learning rate again. A loss that "
        "resists wherever it starts ends alike from both. Mean over seeds, shaded its 95% interval. "
        f"{runs_text(told)}"
    )
    return Drawing(panels(charts, titles, min(len(charts), 3), size=(300, 220), names=names), caption)


def _named(history: Table) -> Table:
    """The table with the start in the loss's name and no longer among the facts that make a setting."""
    memorised = history["start"] == "memorised"
    loss = np.where(memorised, [f"{loss}{_FROM}" for loss in history["loss"]], history["loss"]).astype(object)
    return Table({name: history[name] for name in history.columns if name != "start"} | {"loss": loss})


def _started(table: Table) -> list[float]:
    """The rates at which a run started from memorised weights."""
    names = [name for name in losses_in(table) if name.endswith(_FROM)]
    return sorted(set(table.where(loss=names)["rate"].tolist())) if names else []


def _shown(one: Setting) -> Table:
    """Cross-entropy, and the losses that were started twice, at the rates where they were."""
    twice = [name for name in losses_in(one.table) if name.endswith(_FROM)]
    plain = [name.removesuffix(_FROM) for name in twice]
    return one.table.where(loss=["CE", *plain, *twice], rate=_started(one.table))


def _panel(table: Table, names: list[str]) -> Any:
    last, field = int(table["epoch"].max()), "corrupted_as_observed"
    rows = over_seeds(thinned(table), ("loss", "epoch"), (field,), within=(0, 1))
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
    return alt.layer(band(rows, x, field, y, names), line, ends.encode(**marks, shape=by_loss(names, "shape")))
