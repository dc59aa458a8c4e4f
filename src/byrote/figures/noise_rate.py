"""The noise rate that single runs state, against the one they were trained with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np

from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, rule, values
from byrote.figures.settings import Setting, references, runs_text
from byrote.store.query import Results
from byrote.store.table import Table

__all__ = ["noise_rate"]

LOSSES = ("CE", "RLL", "nMSE")  # the two symmetric losses that claim C1 speaks of, and what most people train with
_LAWS = ("symmetric", "uniform")  # what the estimate assumes
_NEEDS = ("rate_estimate", "rate_low", "rate_high", "underfits")


@figure(
    "noise-rate",
    title="The noise rate read off one run",
    order=50,
)
def noise_rate(results: Results) -> Drawing | None:
    """Stated minus realised rate, with its interval, a panel a setting and loss, a mark a run."""
    history = results.history
    if not all(name in history for name in _NEEDS) or not len(history):
        return None
    told = np.isfinite(history["rate_estimate"]) & ~history["collapsed"].astype(bool)
    stated = history.where(told, noise=_LAWS, loss=LOSSES)
    found = references(stated, "dataset", "classes", "network") if len(stated) else []
    chosen = [replace(one, table=one.table.where(loss=LOSSES)) for one in found]  # not of another alpha
    cells = [(one, loss) for one in chosen for loss in LOSSES if len(one.table.where(loss=loss))]
    if not cells:
        return None
    names = [loss for loss in LOSSES if loss in {loss for _, loss in cells}]
    reach = _reach([one.table.final() for one in chosen])
    most = max(float(one.table["realised_rate"].max()) for one in chosen)
    charts = [_panel(one.table.final().where(loss=loss), names, reach, most) for one, loss in cells]
    titles = [alt.Title(f"{loss}: {_covered(one, loss)}", subtitle=one.with_network) for one, loss in cells]
    caption = (
        "What one run by itself says the noise rate is (from noisy labels that it was not trained on), less the "
        "share of labels that are wrong, in percent of the samples, against that share. A mark a run with its "
        "stated 95% interval; hollow: the run says that it underfits or cannot tell the rate, so that it is not to be "
        "believed. The dotted line is the truth: an honest interval crosses it. "
        f"Above each panel how many of the others' intervals do. {runs_text(chosen)}"
    )
    return Drawing(panels(charts, titles, len(names), size=(230, 170), names=names), caption)


def _bounds(last: Table) -> tuple[Any, Any]:
    """The interval's ends less the realised rate."""
    return last["rate_low"] - last["realised_rate"], last["rate_high"] - last["realised_rate"]


def _doubted(last: Table) -> Any:
    """Runs that say they underfit, or that offer no interval."""
    return last["underfits"].astype(bool) | ~np.isfinite(last["rate_low"])


def _covered(one: Setting, loss: str) -> str:
    """How many of the intervals that their runs stand by hold the true rate."""
    last = one.table.final().where(loss=loss)
    last = last.where(~_doubted(last))
    if not len(last):
        return "none is stated"
    low, high = _bounds(last)
    return f"{int(np.sum((low <= 0) & (high >= 0)))} of {len(last)} cover the truth"


def _reach(tables: list[Table]) -> float:
    """A round number that no estimate or interval goes beyond, on either side of 0."""
    apart = [(*_bounds(table), table["rate_estimate"] - table["realised_rate"]) for table in tables]
    return float(min(np.ceil(np.nanmax(np.abs(np.concatenate([*map(np.concatenate, apart)]))) * 10 + 1e-9) / 10, 1.0))


def _panel(last: Table, names: list[str], reach: float, most: float) -> Any:
    seeds = sorted(set(last["seed"].tolist()))
    rows = []
    for row, doubted in zip(last.rows(), _doubted(last).tolist(), strict=True):
        true, says = row["realised_rate"], "underfits" if row["underfits"] else "cannot tell" if doubted else ""
        apart = 0.01 * (seeds.index(row["seed"]) - (len(seeds) - 1) / 2)  # seeds side by side
        found = {"loss": row["loss"], "seed": row["seed"], "true": true, "at": true + apart}
        found |= {"says": says, "rate": row["rate_estimate"]}
        found |= {name: row[f"rate_{name}"] - true for name in ("estimate", "low", "high")}
        found |= {end: found["estimate"] for end in ("low", "high") if not np.isfinite(found[end])}  # no whisker
        rows.append(found)
    across = alt.Scale(domain=[-0.05, most + 0.05], nice=False)
    x = alt.X("at:Q", title="share of wrong labels", scale=across, axis=alt.Axis(format=".0%"))
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    y = alt.Y("estimate:Q", title="stated less true rate", scale=scale, axis=alt.Axis(format="+.0%"))
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("seed:Q"),
        alt.Tooltip("true:Q", title="wrong labels", format=".1%"),
        alt.Tooltip("rate:Q", title="stated", format=".1%"),
        alt.Tooltip("says:N", title="says that it"),
    ]
    base = alt.Chart(values(rows)).encode(x=x, color=by_loss(names), opacity=dimmed(0.9))
    whisker = base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    marks = [
        base.transform_filter(f"datum.says {sign} ''").mark_point(filled=full, size=32).encode(y=y, tooltip=tips)
        for sign, full in (("===", True), ("!==", False))
    ]
    return alt.layer(rule(0.0), whisker, *marks)
