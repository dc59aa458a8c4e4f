"""Labels that people got wrong beside labels made wrong at the same rate."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, rate_text, share_axis, values
from byrote.figures.seeds import over_seeds
from byrote.figures.settings import Setting, losses_in, references, runs_text, series
from byrote.store.query import Results
from byrote.store.table import Table

__all__ = ["human_noise"]

MEASURES = {"corrupted_as_observed": "m: wrong labels repeated", "test_accuracy": "accuracy on unseen images"}
NEAR = 0.05  # recorded labels stand beside made noise of a rate no further from theirs
PEOPLE, MADE = "recorded", "symmetric"


@figure(
    "human-noise",
    title="Recorded labels beside made noise of the same rate",
    order=55,
)
def human_noise(results: Results) -> Drawing | None:
    """m and test accuracy of each loss under recorded labels and under symmetric noise, a panel a rate and measure."""
    table = _paired(results.history)
    chosen = [one for one in references(table, "dataset", "classes", "network") if _rates(one)] if len(table) else []
    if not chosen:
        return None
    names = losses_in(Table.concat([one.table.where(rate=_rates(one)) for one in chosen]))
    charts, titles = [], []
    for one in chosen:
        for rate in _rates(one):
            for field, words in MEASURES.items():
                charts.append(_panel(one.table.where(rate=rate).final(), field, names))
                titles.append(alt.Title(words, subtitle=f"{one.with_network}, {rate_text(rate)}"))
    told = [Setting(one.title, one.facts, one.table.where(rate=_rates(one))) for one in chosen]
    caption = (
        "Of each loss the share m of wrong labels that it ends by repeating, and the share of test images given "
        "their true class, in percent: full marks for labels that people gave, hollow ones for symmetric noise of"
        " the same rate. Mean over seeds with its "
        f"95% interval (Student t; none for one seed). {runs_text(told)}"
    )
    return Drawing(panels(charts, titles, columns=2, size=(330, 30 * len(names) + 20), names=names), caption)


def _paired(history: Table) -> Table:
    """Recorded runs, at the rate of the made noise that is nearest, and that noise; the noise goes into `law`."""
    if not len(history) or not np.any(history["noise"] == PEOPLE):
        return Table({})
    table = history.where(noise=(PEOPLE, MADE))
    made = np.unique(table.where(noise=MADE)["rate"])
    made = made[made > 0]
    if not len(made):
        return Table({})
    gap = np.abs(table["realised_rate"][:, None] - made[None, :])
    people = table["noise"] == PEOPLE
    rate = np.where(people, made[gap.argmin(1)], table["rate"])
    kept = ~people | (gap.min(1) <= NEAR)
    return _of(table, rate=rate, law=table["noise"]).where(kept)


def _of(table: Table, **columns: Any) -> Table:
    """The table with these columns, and without the noise among the facts that make a setting."""
    kept = {name: table[name] for name in table.columns if name != "noise"}
    return Table(kept | columns)


def _rates(one: Setting) -> list[float]:
    """The rates at which both kinds of label were trained on."""
    found = [set(one.table.where(law=law)["rate"].tolist()) for law in (PEOPLE, MADE)]
    return sorted(set.intersection(*found))


def _tenths(rows: list[dict[str, Any]], field: str) -> tuple[float, float]:
    """The round tenths that hold every interval."""
    low, high = min(row[f"{field}_low"] for row in rows), max(row[f"{field}_high"] for row in rows)
    return float(np.floor(low * 10) / 10), float(np.ceil(high * 10) / 10)


def _panel(last: Table, field: str, names: list[str]) -> Any:
    rows = over_seeds(series(last), ("loss", "law"), (field,), within=(0, 1))
    domain = (0.0, 1.0) if field == "corrupted_as_observed" else _tenths(rows, field)
    x = share_axis(alt.X, field, "share", domain)
    y = alt.Y("loss:N", sort=list(names), title=None, scale=alt.Scale(domain=list(names)))
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("law:N", title="labels"),
        alt.Tooltip(f"{field}:Q", title=MEASURES[field], format=".1%"),
        alt.Tooltip(f"{field}_n:Q", title="runs"),
    ]
    layers = []
    for law, up in ((PEOPLE, -5), (MADE, 5)):
        base = alt.Chart(values([row for row in rows if row["law"] == law]))
        marks = {"color": by_loss(names), "opacity": dimmed()}
        whisker = base.mark_rule(strokeWidth=1.4, yOffset=up).encode(
            **marks, y=y, x=share_axis(alt.X, f"{field}_low", "share", domain), x2=f"{field}_high:Q"
        )
        point = base.mark_point(filled=law == PEOPLE, size=60, yOffset=up)
        layers += [whisker, point.encode(**marks, y=y, x=x, shape=by_loss(names, "shape"), tooltip=tips)]
    return alt.layer(*layers)
