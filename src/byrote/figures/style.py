"""The style of all figures: a color, mark and dash for each loss, and a theme for pages, print and notebooks.

The color of axes, text and reference lines is `currentColor`, so a chart takes the color of the text around it, on
light and dark pages and in print. In PDF files this color is black. In SVG files it is black unless the reader prefers
a dark color scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DARK", "INK", "LIGHT", "LOSSES", "PANEL", "SHARE", "LossStyle", "loss_style", "theme"]

INK = "currentColor"
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
PANEL = (262, 208)
"""Width and height of an ordinary panel, in pixels."""
SHARE = ".0%"
"""The number format of an axis that shows a share of samples."""


@dataclass(frozen=True)
class LossStyle:
    """The style of one loss on every chart: color (CSS), mark (Vega shape), and dash (pixels on and off)."""

    color: str
    shape: str
    dash: tuple[int, ...]


LOSSES = {
    "CE": LossStyle("#0072B2", "circle", (1, 0)),
    "LS": LossStyle("#D55E00", "square", (7, 2)),
    "LR": LossStyle("#CC79A7", "diamond", (4, 2)),
    "MSE": LossStyle("#009E73", "triangle-up", (2, 2)),
    "MSE-p": LossStyle("#6A3FD6", "triangle-down", (6, 2, 2, 2)),
    "RLL": LossStyle("#E69F00", "cross", (9, 3)),
    "nMSE": LossStyle("#5B5B5B", "triangle-right", (2, 3)),
}
"""The styles of the losses in the two papers: Okabe and Ito's colors, with violet instead of their second blue."""

LIGHT = {"#D55E00": "#B84500", "#CC79A7": "#B8558F", "#E69F00": "#B07D00", "#999933": "#85852A", "#44AA99": "#2F8F80"}
"""Replacements of the same hue for the colors that are too pale on a light background."""
DARK = {
    "#0072B2": "#3FA3E0",
    "#5B5B5B": "#A9A9A9",
    "#6A3FD6": "#9C7DFF",
    "#332288": "#8F86E0",
    "#882255": "#D06A9C",
    "#117733": "#45B868",
}
"""Replacements of the same hue for the colors that are too dark on a dark background."""

_FURTHER = (  # Paul Tol's "muted" scheme, without the hues used above
    LossStyle("#332288", "circle", (5, 3)),
    LossStyle("#882255", "square", (3, 3)),
    LossStyle("#117733", "diamond", (8, 2)),
    LossStyle("#999933", "triangle-up", (5, 2, 1, 2)),
    LossStyle("#44AA99", "triangle-down", (3, 1)),
    LossStyle("#AA4499", "cross", (1, 2)),
)


def loss_style(name: str, known: Sequence[str]) -> LossStyle:
    """The style of a loss in a report; losses without a color of their own get the spare colors in sorted order.

    >>> loss_style("RLL", ["CE", "RLL"]).color
    '#E69F00'
    >>> loss_style("GCE", ["CE", "GCE", "SCE"]).color, loss_style("SCE", ["CE", "GCE", "SCE"]).color
    ('#332288', '#882255')

    If there are more of these losses than spare colors, colors repeat with a different mark and dash.
    """
    if name in LOSSES:
        return LOSSES[name]
    lap, place = divmod(sorted(set(known) - set(LOSSES)).index(name), len(_FURTHER))
    shifted = _FURTHER[(place + lap) % len(_FURTHER)]
    return LossStyle(_FURTHER[place].color, shifted.shape, shifted.dash)


def theme() -> dict[str, Any]:
    """The Vega-Lite configuration of every figure."""
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None, "continuousWidth": PANEL[0], "continuousHeight": PANEL[1]},
        "concat": {"spacing": 26},
        "title": {
            "anchor": "start",
            "color": INK,
            "subtitleColor": INK,
            "fontSize": 12.5,
            "subtitleFontSize": 11,
            "fontWeight": 600,
            "offset": 8,
        },
        "axis": {
            "labelColor": INK,
            "titleColor": INK,
            "tickColor": INK,
            "domainColor": INK,
            "gridColor": INK,
            "gridOpacity": 0.1,
            "domainOpacity": 0.45,
            "tickOpacity": 0.45,
            "labelOpacity": 0.85,
            "tickSize": 4,
            "labelFontSize": 10.5,
            "titleFontSize": 11.5,
            "titleFontWeight": 500,
            "titlePadding": 7,
            "labelFlush": False,
            "tickCount": 5,
        },
        "legend": {
            "orient": "top",
            "title": None,
            "labelColor": INK,
            "titleColor": INK,
            "labelFontSize": 12,
            "symbolSize": 110,
            "symbolStrokeWidth": 2,
            "columnPadding": 16,
            "offset": 16,
        },
        "text": {"color": INK, "fontSize": 10.5},
        "rule": {"color": INK},
        "line": {"strokeWidth": 2},
        "point": {"strokeWidth": 1.5},
    }
