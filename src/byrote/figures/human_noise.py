"""Labels that people got wrong beside labels made wrong at the same rate."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, share_axis, values
from byrote.figures.seeds import over_seeds
from byrote.figures.settings import Setting, losses_in, references, runs_text
from byrote.store.query import Results
from byrote.table import Table

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
    chosen = references(_by_law(results.history), "dataset", "classes", "network", among=_paired_rates)
    charts, titles, told = [], [], []
    pairs = [(one, rate, made) for one in chosen for rate, made in _paired_rates(one).items()]
    names = losses_in(Table.concat([_pair(one, rate, made) for one, rate, made in pairs])) if pairs else []
    for one, rate, made in pairs:
        table = _pair(one, rate, made)
        told.append(Setting(one.title, one.facts, table))
        for field, words in MEASURES.items():
            charts.append(_panel(table.final(), field, names))
            titles.append(alt.Title(words, subtitle=f"{one.with_network}, {_shares(table)}"))
    if not charts:
        return None
    caption = (
        "Of each loss the share m of wrong labels that it ends by repeating, and the share of test images given "
        "their true class, in percent: full marks for recorded labels, hollow ones for symmetric noise of the "
        "nearest rate, at most five points away. Mean over seeds with its 95% interval (Student t; none for one "
        f"seed). {runs_text(told, by=('loss', 'law'))}"
    )
    return Drawing(panels(charts, titles, columns=2, size=(330, 30 * len(names) + 20), names=names), caption)


def _by_law(history: Table) -> Table:
    """Recorded runs and those under symmetric noise: the noise in `law`, and recorded labels at the rate they have.

    Settings differ in neither; one file of recorded labels has one nominal rate, its mean realised one.
    """
    if not len(history) or not np.any(history["noise"] == PEOPLE):
        return Table({})
    table = history.where(noise=(PEOPLE, MADE))
    files = table["labels"] if "labels" in table else np.full(len(table), "")
    rate = table["rate"].astype(np.float64)
    for name in np.unique(files[table["noise"] == PEOPLE]):
        rows = (table["noise"] == PEOPLE) & (files == name)
        rate[rows] = float(np.mean(table["realised_rate"][rows]))
    kept = {name: table[name] for name in table.columns if name not in ("noise", "labels")}
    return Table(kept | {"rate": rate, "law": table["noise"]})


def _paired_rates(one: Setting) -> dict[float, float]:
    """The rate of each file of recorded labels, and the nearest rate of made noise in this setting."""
    people, made = (np.unique(one.table.where(law=law)["rate"]) for law in (PEOPLE, MADE))
    made = made[made > 0]
    nearest = {float(rate): float(made[np.argmin(np.abs(made - rate))]) for rate in people} if len(made) else {}
    return {rate: other for rate, other in nearest.items() if abs(rate - other) <= NEAR}


def _pair(one: Setting, rate: float, made: float) -> Table:
    return Table.concat([one.table.where(law=PEOPLE, rate=rate), one.table.where(law=MADE, rate=made)])


def _shares(table: Table) -> str:
    """How many labels are wrong in either."""
    people, made = (float(np.mean(table.where(law=law)["realised_rate"])) for law in (PEOPLE, MADE))
    return f"{people:.1%} wrong; made {made:.1%}"


def _tenths(rows: list[dict[str, Any]], field: str) -> tuple[float, float]:
    """The round tenths that hold every interval."""
    ends = [row[f"{field}_{end}"] for row in rows for end in ("low", "high") if row[f"{field}_{end}"] is not None]
    low, high = np.floor(min(ends, default=0.0) * 10) / 10, np.ceil(max(ends, default=1.0) * 10) / 10
    return float(low), float(max(high, low + 0.1))


def _panel(last: Table, field: str, names: list[str]) -> Any:
    rows = over_seeds(last, ("loss", "law"), (field,), within=(0, 1))
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
