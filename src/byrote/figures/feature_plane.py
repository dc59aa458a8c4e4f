"""A scatter plot of two-dimensional features: test images of two classes, and training images with wrong labels."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis
from byrote.analysis.series import DATA, Selection, one_each, rated
from byrote.figures.base import Drawing, figure
from byrote.figures.charts import fixed, panels, rate_text, values
from byrote.figures.style import INK, loss_style
from byrote.table import Table

__all__ = ["feature_plane", "landmarks"]

LOSSES = ("CE", "LS")
_TEST, _WRONG = 240, 160  # the largest numbers of test points and of wrongly labeled points drawn for each class


@figure(
    "feature-plane",
    title="Where the network puts the wrong labels",
    paper="MD Fig. 3",
    order=50,
    needs=("feature_width", "num_classes", "nc1_test", "mem_mean", "mem_relative", "uncentred_cosine"),
)
def feature_plane(analysis: Analysis) -> Drawing | None:
    """Draw the features of test images and of wrongly labeled training images under CE and LS, with their means."""
    chosen = _chosen(analysis)
    if chosen is None:
        return None
    pair = [(_end(chosen, place), _features(chosen, place)) for place in _places(chosen)]
    reach = max(float(np.percentile(np.r_[rows["x"], rows["y"]], 99.5)) for _, rows in pair) * 1.06
    charts = [_panel(str(row["loss"]), rows, reach) for row, rows in pair]
    titles = [_heading(row, rows) for row, rows in pair]
    counts = "; ".join(f"{row['loss']} {_counts(rows)}" for row, rows in pair)
    first = pair[0][0]
    caption = (
        "The two features (penultimate layer after the ReLU, in feature units, on one scale for all panels) at the "
        f"end of training, for one run of each loss at {rate_text(first['rate'])} ({chosen.title}). Seed "
        f"{first['seed']} is shown because, of all seeds, its class means are closest to orthogonal (cosines "
        f"{_cosines(pair)}). Dots are test images: filled for the first class, hollow for the second. Crosses are "
        "training images with a wrong label: × has the label of the first class but belongs to the second, and + the "
        "reverse. h₁, h₂: means of the test features by true class; u₁, u₂: means of the wrongly labeled training "
        "features by the given label. The lines from h₂ to u₁ and from h₁ to u₂ show the distances that mem sums. "
        f"n: {counts}. For each class, at most {_TEST} test points and {_WRONG} wrongly labeled points are drawn, but "
        "the means include all points."
    )
    return Drawing(panels(charts, titles, columns=2, size=(360, 360)), caption)


def _chosen(analysis: Analysis) -> Selection | None:
    """One run with stored features for each loss, all with one seed and the rate nearest .2; None if no run qualifies.

    The chosen seed is the one whose class means are closest to orthogonal under both losses, as in the model. The
    stored features are read only if there are runs that could be drawn.
    """
    possible = [_drawable(one) for one in rated(analysis)]
    if not any(map(len, possible)):
        return None
    stored_keys = set(analysis.results.features["key"].tolist()) if len(analysis.results.features) else set()
    stored = [one.where(np.array([key in stored_keys for key in one.text("key")], dtype=bool)) for one in possible]
    points = one_each(stored, DATA, len)
    if not points:
        return None
    best = max(points, key=lambda one: len(one.losses))
    best = best.at_rate(min(best.rates, key=lambda rate: abs(rate - 0.2)))
    seed = max(np.unique(best.seeds).tolist(), key=lambda seed: _clarity(best.where(best.seeds == seed)))
    return best.where(best.seeds == seed)


def _drawable(one: Selection) -> Selection:
    """The runs with two classes, two features and noise, without collapsed runs."""
    one = one.of_losses(*LOSSES)
    plane = (one.last("feature_width") == 2) & (one.last("num_classes") == 2)
    return one.where(plane & (one.rate > 0) & ~one.collapsed)


def _clarity(one: Selection) -> tuple[int, float]:
    """A sort key for a seed: the number of its losses, then how nearly orthogonal its worst run's class means are.

    A class mean at zero has no angle and counts as parallel.
    """
    return len(one), -float(np.nan_to_num(one.last("uncentred_cosine"), nan=1.0).max())


def _places(one: Selection) -> list[int]:
    return [one.labels.tolist().index(loss) for loss in LOSSES if loss in one.losses]


def _end(one: Selection, place: int) -> dict[str, Any]:
    """The readings of one run at the end of training that the figure reports."""
    columns = ("nc1_test", "mem_mean", "mem_relative", "uncentred_cosine", "rate")
    readings = {name: float(one.last(name)[place]) for name in columns}
    return readings | {"loss": one.labels[place], "seed": int(one.seeds[place])}


def _features(one: Selection, place: int) -> Table:
    return one.analysis.results.features.where(key=one.text("key")[place])


def landmarks(features: Table) -> dict[str, NDArray[np.float64]]:
    """Mean features: of test samples by true class (h1, h2), of wrongly labeled samples by observed class (u1, u2).

    Classes are numbered in sorted order. A class that is absent has no entry.
    """
    classes = sorted(set(features["true"].tolist()))
    points = {}
    for number, c in enumerate(classes, start=1):
        test = features.where(split="test", true=c)
        wrong = features.where((features["true"] != features["observed"]) & (features["observed"] == c), split="train")
        for letter, rows in (("h", test), ("u", wrong)):
            if len(rows):
                points[f"{letter}{number}"] = np.array([rows["x"].mean(), rows["y"].mean()])
    return points


def _cosines(pair: list[tuple[dict[str, Any], Table]]) -> str:
    return ", ".join(f"{row['loss']} {row['uncentred_cosine']:.2f}" for row, _ in pair)


def _wrong(features: Table) -> Table:
    return features.where(features["true"] != features["observed"], split="train")


def _counts(features: Table) -> str:
    return f"{len(features.where(split='test'))} test and {len(_wrong(features))} wrong labels"


def _heading(row: dict[str, Any], features: Table) -> alt.Title:
    distance = float(row["mem_relative"])
    return alt.Title(
        f"{row['loss']}, {rate_text(row['rate'])}",
        subtitle=f"NC1 {row['nc1_test']:.3f}, mem {row['mem_mean']:.2f} = {distance:.2f} D (mean over wrong labels)",
    )


def _panel(loss: str, features: Table, reach: float) -> list[Any]:
    color = loss_style(loss, [loss]).color
    classes = sorted(set(features["true"].tolist()))
    scale = alt.Scale(domain=[-0.03 * reach, reach], nice=False, clamp=True)
    x = alt.X("x:Q", title="feature 1", scale=scale)
    y = alt.Y("y:Q", title="feature 2", scale=scale)
    layers: list[alt.Chart] = []
    for number, c in enumerate(classes):
        test = _some(features.where(split="test", true=c), _TEST)
        dots = alt.Chart(values(test)).mark_point(filled=number == 0, size=18, color=color, opacity=0.5, strokeWidth=1)
        layers.append(dots.encode(x=x, y=y))
    for number, c in enumerate(classes):
        wrong = _some(_wrong(features).where(observed=c), _WRONG)
        cross = "M-.7,-.7L.7,.7M-.7,.7L.7,-.7" if number == 0 else "M-1,0L1,0M0,-1L0,1"
        marks = alt.Chart(values(wrong)).mark_point(shape=cross, size=34, color=INK, opacity=0.55, strokeWidth=1.1)
        layers.append(marks.encode(x=x, y=y))
    return [*layers, *_landmark_layers(features, x, y, color)]


def _landmark_layers(features: Table, x: Any, y: Any, color: str) -> list[alt.Chart]:
    points = landmarks(features)
    layers: list[alt.Chart] = []
    for start, end in (("h2", "u1"), ("h1", "u2")):
        if start in points and end in points:
            ends = [{"x": float(points[name][0]), "y": float(points[name][1])} for name in (start, end)]
            layers.append(alt.Chart(values(ends)).mark_line(color=INK, strokeWidth=2.2).encode(x=x, y=y))
    rows = [
        {"x": float(at[0]), "y": float(at[1]), "kind": name[0], "name": name[0] + "₁₂"[int(name[1]) - 1]}
        for name, at in points.items()
    ]
    base = alt.Chart(values(rows)).encode(x=x, y=y)
    shape = alt.Shape("kind:N", scale=fixed(["h", "u"], ["circle", "diamond"]), legend=None)
    tips = [alt.Tooltip("name:N"), alt.Tooltip("x:Q", format=".3f"), alt.Tooltip("y:Q", format=".3f")]
    point = base.mark_point(filled=True, size=170, color=color, opacity=1, stroke="white", strokeWidth=1.6)
    font: dict[str, Any] = {"fontSize": 14, "fontWeight": 700, "fontStyle": "italic"}
    halo: dict[str, Any] = {"stroke": "white", "strokeWidth": 5, "strokeJoin": "round"}
    texts: list[alt.Chart] = []
    for below, dx, dy in ((True, -15, 9), (False, 15, -9)):
        named = alt.Chart(values([row for row in rows if (row["name"] == "u₂") is below]))
        texts += [
            named.mark_text(dx=dx, dy=dy, **font, **style).encode(x=x, y=y, text=alt.Text("name:N"))
            for style in (halo, {})
        ]
    return [*layers, point.encode(shape=shape, tooltip=tips), *texts]


def _some(table: Table, most: int) -> list[dict[str, Any]]:
    """At most `most` points of the table, at even distances in the stored order."""
    places = np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).round().astype(np.intp))
    return [{"x": round(row["x"], 4), "y": round(row["y"], 4)} for row in table.take(places).rows()]
