"""The building blocks of every chart: a common legend, lines with bands, notes, and panels in rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from byrote.figures.style import PANEL, loss_style

__all__ = [
    "CHOSEN",
    "apart",
    "band",
    "by_loss",
    "dimmed",
    "epoch_axis",
    "fixed",
    "interval_words",
    "note",
    "panels",
    "rate_text",
    "rule",
    "share_axis",
    "share_lines",
    "values",
]

CHOSEN = "chosen"
"""The selection made by a click in the legend, common to all panels of a figure."""

_LETTER = {"text": 6.6, "subtitle": 5.6}
"""The mean width of a letter in a panel's title, in pixels, at the font sizes of the theme."""
_AXIS = 50
_LAYER = ("name", "data", "transform", "mark", "encoding")

Rows = Sequence[Mapping[str, object]]
Layer = Any  # an Altair chart, whose methods are typed as returning Any


def values(rows: Rows) -> alt.InlineData:
    """Rows as inline data of a chart; no data frame is needed, because each encoding states its type.

    The rows are kept as one string, because Altair copies and validates a list at every step that composes a chart.
    """
    text = json.dumps([dict(row) for row in rows], separators=(",", ":"), allow_nan=False)
    return alt.InlineData(values=text, format=alt.JsonDataFormat(type="json"))


def by_loss(names: Sequence[str], channel: str = "color") -> Any:
    """Encode the field `loss` as a color, shape or dash that is the same in every panel and figure."""
    styles = [loss_style(name, names) for name in names]
    if channel == "color":
        return alt.Color(
            "loss:N", scale=fixed(names, [s.color for s in styles]), legend=alt.Legend(title=None, symbolOpacity=1)
        )
    if channel == "shape":
        return alt.Shape(
            "loss:N", scale=fixed(names, [s.shape for s in styles]), legend=alt.Legend(title=None, symbolOpacity=1)
        )
    return alt.StrokeDash("loss:N", scale=fixed(names, [list(s.dash) for s in styles]), legend=None)


def fixed(domain: Sequence[Any], image: Sequence[Any]) -> alt.Scale:
    """A scale that maps each value of the domain to the value at the same position in `image`."""
    return alt.Scale(domain=list(domain), range=list(image))


def dimmed(full: float = 1.0) -> Any:
    """Full opacity for the losses selected in the legend (initially all of them), low opacity for the rest."""
    shown = {"param": CHOSEN, "value": full}
    return alt.OpacityValue(round(0.07 * full, 4), condition=shown)


def _legend(names: Sequence[str]) -> dict[str, Any]:
    """A layer of invisible marks that gives every panel the same complete legend."""
    chart = alt.Chart(values([{"loss": name} for name in names])).mark_point(opacity=0, size=0)
    encoded = {"color": by_loss(names), "shape": by_loss(names, "shape")}
    layer: dict[str, Any] = chart.encode(**_pixels(0, 0), **encoded).to_dict(validate=False)
    return layer


def rate_text(rate: float) -> str:
    """A noise rate with three digits, as written in captions and titles.

    >>> rate_text(0.2), rate_text(0.0), rate_text(0.40208)
    ('η .2', 'η 0', 'η .402')
    """
    return f"η {rate:.3g}".replace("0.", ".")


def share_axis(channel: type[Any], field: str, title: str, domain: tuple[float, float] = (0, 1)) -> Any:
    """An axis of shares, shown in percent."""
    return channel(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=list(domain), clamp=True, nice=False),
        axis=alt.Axis(format=".0%", values=_share_ticks(*domain)),
    )


def _share_ticks(low: float, high: float) -> list[float]:
    """At most five round shares within a domain that starts at a round share.

    >>> _share_ticks(0, 1), _share_ticks(0.7, 1.0), _share_ticks(0.3, 1.0)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.7, 0.8, 0.9, 1.0], [0.4, 0.6, 0.8, 1.0])
    """
    step = next(step for step in (0.05, 0.1, 0.2, 0.25) if (high - low) / step < 4.5)
    first = math.ceil(round(low / step, 6))
    return [round(place * step, 6) for place in range(first, round(high / step) + 1)]


def epoch_axis(last: int, title: str = "epoch") -> alt.X:
    """An axis of epochs, from 0 to the last epoch."""
    return alt.X("epoch:Q", title=title, scale=alt.Scale(domain=[0, last], nice=False), axis=alt.Axis(tickCount=4))


def band(rows: Rows, x: Any, field: str, y: Any, names: Sequence[str], detail: str = "loss:N") -> Layer:
    """Draw the 95% interval of a column around its mean, with a band for each line."""
    return (
        alt.Chart(values(rows))
        .mark_area(line=False)
        .encode(
            x=x,
            y=_renamed(y, f"{field}_low"),
            y2=alt.Y2(f"{field}_high:Q"),
            color=by_loss(names),
            detail=alt.Detail(detail),
            opacity=dimmed(0.16),
        )
    )


def share_lines(rows: Rows, field: str, y: Any, words: str, names: Sequence[str], last: int) -> list[Layer]:
    """Draw a share against the epoch: for each loss, a band, a line, and a point at the last epoch.

    Args:
        rows: rows with `loss`, `epoch`, FIELD, the ends of its interval FIELD_low and FIELD_high, and the number of
            runs FIELD_n.
        field: the name of the column FIELD that holds the share.
        y: the axis of the share.
        words: the name of the share in tooltips.
        names: the losses of the figure.
        last: the last epoch.
    """
    x = epoch_axis(last)
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip(f"{field}:Q", title=words, format=".1%"),
        alt.Tooltip(f"{field}_n:Q", title="runs"),
    ]
    line = (
        alt.Chart(values(rows))
        .mark_line()
        .encode(x=x, y=y, color=by_loss(names), strokeDash=by_loss(names, "dash"), opacity=dimmed(), tooltip=tips)
    )
    ends = alt.Chart(values([row for row in rows if row["epoch"] == last])).mark_point(filled=True, size=60)
    ends = ends.encode(x=x, y=y, color=by_loss(names), shape=by_loss(names, "shape"), opacity=dimmed(), tooltip=tips)
    return [band(rows, x, field, y, names), line, ends]


def interval_words(field: str, count: str) -> str:
    """The 95% interval of a share, for a tooltip, as a Vega expression; a single run has no interval.

    >>> interval_words("j1", "j1_n")
    "datum['j1_n'] > 1 ? format(datum['j1_low'], '.1%') + ' to ' + format(datum['j1_high'], '.1%') : 'none (one seed)'"
    """
    low, high = (f"format(datum['{field}_{end}'], '.1%')" for end in ("low", "high"))
    return f"datum['{count}'] > 1 ? {low} + ' to ' + {high} : 'none (one seed)'"


def _renamed(axis: Any, field: str) -> Any:
    other = axis.copy()
    other.shorthand = f"{field}:Q"
    return other


def note(text: str, x: float, y: float) -> Layer:
    """Draw text inside a panel, at a distance in pixels from its upper left corner."""
    chart = alt.Chart(values([{}])).mark_text(text=text, align="left", baseline="top", fontStyle="italic", opacity=0.85)
    return chart.encode(**_pixels(x, y))


def _pixels(x: float, y: float) -> dict[str, Any]:
    vega: Any = alt  # Altair's XValue and YValue are untyped
    return {"x": vega.XValue(x), "y": vega.YValue(y)}


def apart(rows: Rows, field: str, least: float = 0.075) -> list[dict[str, Any]]:
    """The rows with `place`, the value of the field, lowered where needed to keep neighboring labels `least` apart.

    >>> [round(row["place"], 3) for row in apart([{"j1": 0.5}, {"j1": 0.99}, {"j1": 0.98}], "j1")]
    [0.99, 0.915, 0.5]
    """
    placed: list[dict[str, Any]] = []
    for height, row in sorted(((float(str(row[field])), row) for row in rows), key=lambda pair: -pair[0]):
        top = placed[-1]["place"] - least if placed else 1.0
        placed.append(dict(row) | {"place": min(height, top)})
    return placed


def rule(value: float, along: str = "y") -> Layer:
    """Draw a dotted reference line."""
    where = {"x": alt.XDatum(value)} if along == "x" else {"y": alt.YDatum(value)}
    return alt.Chart(values([{}])).mark_rule(strokeDash=[2, 3], opacity=0.55).encode(**where)


def panels(
    charts: Sequence[Sequence[Layer]],
    titles: Sequence[str | alt.Title],
    columns: int,
    size: tuple[int, int] = PANEL,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """One specification of layered panels of equal size, with `columns` panels in a row.

    On a narrow screen the page puts fewer panels in a row. Layers and panels are joined as plain data: Altair's own
    `layer` and `concat` copy every part of every panel several times, which takes a minute instead of a second.

    Args:
        charts: the layers of each panel, the lowest first.
        titles: one per panel; a title that is wider than its panel is broken into lines.
        columns: panels per row.
        size: width and height of a panel in pixels.
        names: the losses of the clickable legend; without names there is no legend.
    """
    joined: list[dict[str, Any]] = []
    rows: dict[str, Any] = {}
    legend = _legend(names) if names else {}
    for place, (chart, title) in enumerate(zip(charts, titles, strict=True)):
        drawn = [layer.to_dict(validate=False) for layer in chart]
        # the legend's layer must be first, because Vega-Lite makes only the first of the joined legends clickable
        layers = [legend | {"name": f"panel{place}"}, *drawn] if legend else drawn
        for layer in layers:
            rows |= {name: json.loads(text) for name, text in layer["datasets"].items() if name not in rows}
        plain = [{part: layer[part] for part in layer if part in _LAYER} for layer in layers]
        joined.append({"title": _heading(title, size[0]), "width": size[0], "height": size[1], "layer": plain})
    spec: dict[str, Any] = {
        "$schema": f"https://vega.github.io/schema/vega-lite/{alt.SCHEMA_VERSION.split('.')[0]}.json",
        "concat": joined,
        "columns": columns,
        "resolve": {"scale": {"color": "shared", "shape": "shared", "strokeDash": "independent"}},
        "datasets": rows,
    }
    if names:
        select = {"type": "point", "fields": ["loss"]}
        views = [f"panel{place}" for place in range(len(joined))]
        spec["params"] = [{"name": CHOSEN, "select": select, "bind": "legend", "views": views}]
    return spec


def _heading(title: str | alt.Title, width: int) -> dict[str, Any]:
    """The title of a panel as plain data, with text and subtitle broken into lines that fit the panel."""
    plain = {"text": title} if isinstance(title, str) else title.to_dict()
    return plain | {name: _lines(plain[name], width, size) for name, size in _LETTER.items() if name in plain}


def _lines(text: str | Sequence[str], width: int, letter: float) -> str | list[str]:
    """Break a text after commas, or if necessary between words, so that each line fits the panel and its axis.

    >>> _lines("Fashion-MNIST 0/1/2/3, MLP, uniform noise", 200, 6.6)
    ['Fashion-MNIST 0/1/2/3, MLP,', 'uniform noise']
    >>> _lines("MNIST, MLP", 200, 6.6)
    'MNIST, MLP'
    """
    most = int((width + _AXIS) / letter)
    lines: list[str] = []
    for line in [text] if isinstance(text, str) else text:
        while len(line) > most:
            end = max(line.rfind(", ", 0, most) + 1, 0) or line.rfind(" ", 0, most + 1)
            if end <= 0:
                break
            lines.append(line[:end])
            line = line[end:].strip()
        lines.append(line)
    return lines[0] if len(lines) == 1 else lines
