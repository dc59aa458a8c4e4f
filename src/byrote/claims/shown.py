"""The notebook display of verdicts: signs, words in color, and an estimate with its interval."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from byrote.claims.verdict import Verdict

__all__ = ["SIGNS", "estimate", "paragraph", "table"]

SIGNS = {
    "holds": "✓",
    "holds except": "◕",
    "fails in": "◔",
    "fails": "✕",
    "inconclusive": "?",
    "not tested": "–",
    "error": "!",
}
"""A sign for each word of a verdict, in the order of the counts on the page."""
_HUES = {"holds": "#009e73", "holds except": "#009e73", "fails in": "#d55e00", "fails": "#d55e00"}
_HUES |= {"inconclusive": "#b08c00", "not tested": "#808080", "error": "#d55e00"}
_CELL = "padding:.15em .6em;text-align:left;vertical-align:top;color:inherit;background:none"


def estimate(verdict: Verdict) -> str:
    """The statistic and its interval with three digits; empty if there is no statistic."""
    if verdict.statistic is None:
        return ""
    ends = "" if verdict.interval is None else f" [{verdict.interval[0]:.3g}, {verdict.interval[1]:.3g}]"
    return f"{verdict.statistic:.3g}{ends}"


def paragraph(verdict: Verdict) -> str:
    """One verdict as an HTML paragraph."""
    parts = [estimate(verdict), f"bar: {verdict.bar}", f"{verdict.runs} runs", verdict.reason]
    text = "; ".join(html.escape(part) for part in parts if part)
    head = f"<b>{html.escape(verdict.id)}</b> {_word(verdict)}: {html.escape(verdict.statement)}"
    return f"<p>{head}<br><small>{text}</small></p>"


def table(verdicts: Iterable[Verdict]) -> str:
    """Verdicts as an HTML table that loads nothing; its text has the color of the notebook's text.

    >>> "<table" in table([])
    True
    """
    head = "".join(
        f'<th style="{_CELL}">{name}</th>'
        for name in ("claim", "statement", "verdict", "estimate", "bar", "runs", "reason")
    )
    body = []
    for one in verdicts:
        texts = [one.id, one.statement, estimate(one), one.bar, str(one.runs), one.reason]
        cells = [html.escape(text) for text in texts]
        cells.insert(2, _word(one))
        body.append("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>")
    return f'<table class="byrote-verdicts"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _word(verdict: Verdict) -> str:
    """The sign and the word in a mix of hue and text color, which is legible on light and dark backgrounds."""
    color = f"color-mix(in srgb, {_HUES[verdict.word]} 55%, currentColor)"
    return f'<b style="color:{color};white-space:nowrap">{SIGNS[verdict.word]} {html.escape(verdict.verdict)}</b>'
