"""Wrong labels that people gave, compared with simulated wrong labels at the same rate."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.series import NETWORK, Selection, losses_of, one_each, runs_text
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import by_loss, dimmed, panels, share_axis, values

__all__ = ["human_noise"]

MEASURES = {"corrupted_as_observed": "m: wrong labels repeated", "test_accuracy": "accuracy on unseen images"}
NEAR = 0.05  # the largest difference between the rates of recorded labels and of the simulated noise beside them
PEOPLE, SIMULATED = "recorded", "symmetric"


@figure(
    "human-noise",
    title="Recorded labels beside simulated noise of the same rate",
    order=55,
    needs=(*MEASURES, "realised_rate"),
)
def human_noise(analysis: Analysis) -> Drawing | None:
    """Draw m and test accuracy of each loss under recorded and under symmetric noise: a panel per rate and measure."""
    every = [Selection.of(analysis, setting) for setting in analysis.grouped(without=("noise",))]
    pairs = [pair for one in one_each(every, NETWORK, _pairs) for pair in _pairs(one)]
    names = losses_of(pairs)
    charts, titles = [], []
    for pair in pairs:
        for field, words in MEASURES.items():
            charts.append(_panel(pair, field, names))
            titles.append(alt.Title(words, subtitle=f"{pair.title}, {_shares(pair)}"))
    if not charts:
        return None
    caption = (
        "For each loss, two shares at the end of training, in percent: m, the share of wrong labels that the network "
        "repeats, and the share of test images that it gives their true class. Full marks are for recorded labels; "
        "hollow marks are for symmetric noise of the nearest rate, at most five points away. Marks are means over "
        f"seeds with 95% intervals (Student t; none for one seed). {runs_text(pairs, by=('loss', 'noise'))}"
    )
    return Drawing(panels(charts, titles, columns=2, size=(330, 30 * len(names) + 20), names=names), caption)


def _pairs(one: Selection) -> list[Selection]:
    """For each file of recorded labels, its runs and the runs under symmetric noise of the nearest rate above 0.

    Args:
        one: the runs of settings that differ only in the noise law. The rate of a file is the mean share of wrong
            labels in the runs that use it.
    """
    law, whole = one.text("noise"), one.analysis.runs["setting"][one.runs]
    simulated = whole[(law == SIMULATED) & (one.rate > 0)]
    if not len(simulated):
        return []
    main = one.where((whole == np.bincount(simulated).argmax()) & (one.rate > 0))
    pairs = []
    for code in dict.fromkeys(whole[law == PEOPLE].tolist()):
        people = one.where(whole == code)
        rate = float(np.mean(people.last("realised_rate")))
        nearest = min(main.rates, key=lambda other: abs(other - rate))
        if abs(nearest - rate) <= NEAR:
            pairs.append(one.where((whole == code) | np.isin(one.runs, main.at_rate(nearest).runs)))
    return pairs


def _of_law(one: Selection, law: str) -> Selection:
    return one.where(one.text("noise") == law)


def _shares(one: Selection) -> str:
    """A text with the share of wrong labels among the labels that people gave and among the simulated labels."""
    people, simulated = (float(np.mean(_of_law(one, law).last("realised_rate"))) for law in (PEOPLE, SIMULATED))
    return f"{people:.1%} wrong; made {simulated:.1%}"


def _tenths(rows: list[dict[str, Any]], field: str) -> tuple[float, float]:
    """The smallest range from one multiple of .1 to another that contains every interval."""
    ends = [row[f"{field}_{end}"] for row in rows for end in ("low", "high") if row[f"{field}_{end}"] is not None]
    low, high = np.floor(min(ends, default=0.0) * 10) / 10, np.ceil(max(ends, default=1.0) * 10) / 10
    return float(low), float(max(high, low + 0.1))


def _panel(one: Selection, field: str, names: list[str]) -> list[Any]:
    rows = one.means(("loss", "noise"), (field,), within=(0, 1))
    domain = (0.0, 1.0) if field == "corrupted_as_observed" else _tenths(rows, field)
    x = share_axis(alt.X, field, "share", domain)
    y = alt.Y("loss:N", sort=list(names), title=None, scale=alt.Scale(domain=list(names)))
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("noise:N", title="labels"),
        alt.Tooltip(f"{field}:Q", title=MEASURES[field], format=".1%"),
        alt.Tooltip(f"{field}_n:Q", title="runs"),
    ]
    layers = []
    for law, up in ((PEOPLE, -5), (SIMULATED, 5)):
        base = alt.Chart(values([row for row in rows if row["noise"] == law]))
        marks = {"color": by_loss(names), "opacity": dimmed()}
        whisker = base.mark_rule(strokeWidth=1.4, yOffset=up).encode(
            **marks, y=y, x=share_axis(alt.X, f"{field}_low", "share", domain), x2=alt.X2(f"{field}_high:Q")
        )
        point = base.mark_point(filled=law == PEOPLE, size=60, yOffset=up)
        layers += [whisker, point.encode(**marks, y=y, x=x, shape=by_loss(names, "shape"), tooltip=tips)]
    return layers
