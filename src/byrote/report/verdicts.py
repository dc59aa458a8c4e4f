"""Verdicts as a table: plain words with a colour and a sign, and everything behind them on request."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from byrote.claims import Verdict
from byrote.report.words import number, span

__all__ = ["FAMILIES", "SIGNS", "grouped", "row", "verdicts_html"]

SIGNS = {
    "holds": "✓",
    "holds except": "◕",
    "fails in": "◔",
    "fails": "✕",
    "inconclusive": "?",
    "not tested": "–",
    "error": "!",
}
"""A sign for each word, in the order in which the page counts them."""
FAMILIES = {
    "A": "Memorization-dilation (Nguyen et al., ICLR 2023)",
    "B": "Does the loss function matter? (Patel & Sastry, PAKDD 2021)",
    "C": "Past the papers",
}


def row(verdict: Verdict) -> dict[str, Any]:
    """One verdict as words."""
    filled = (name for detail in verdict.details for name, value in detail.items() if value not in (None, ""))
    names = list(dict.fromkeys(filled))
    return {
        "id": verdict.id,
        "statement": verdict.statement,
        **_mark(verdict.verdict),
        "marks": [{"name": name, **_mark(text)} for name, text in verdict.by_dataset.items()],
        "statistic": number(verdict.statistic),
        "interval": span(verdict.interval),
        "bar": verdict.bar,
        "runs": verdict.runs,
        "published": number(verdict.published),
        "reason": verdict.reason,
        "notes": [
            (name, text)
            for name, text in (
                ("interval", verdict.method),
                ("cells", verdict.cells),
                ("needs at least", verdict.minimum),
                ("premise", verdict.premise),
            )
            if text
        ],
        "pooled": [(what, number(value), span((low, high))) for what, (value, low, high) in verdict.pooled.items()],
        "names": [name.replace("_", " ") for name in names],
        "details": [[_cell(detail.get(name)) for name in names] for detail in verdict.details],
    }


def _mark(text: str) -> dict[str, str]:
    """A verdict's text with the sign and the style of its word.

    >>> _mark("fails in 3 of 12 cells")
    {'verdict': 'fails in 3 of 12 cells', 'word': 'fails in', 'sign': '◔', 'css': 'fails-in'}
    """
    word = max((word for word in SIGNS if text.startswith(word)), key=len)
    return {"verdict": text, "word": word, "sign": SIGNS[word], "css": word.replace(" ", "-")}


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return span((value[0], value[1])) if len(value) == 2 else ", ".join(number(one) for one in value)
    return number(value)


def grouped(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts by paper, those that could not be tested apart."""
    groups = []
    for letter in dict.fromkeys(verdict.id[:1] for verdict in verdicts):
        own = [row(verdict) for verdict in verdicts if verdict.id[:1] == letter]
        groups.append(
            {
                "title": FAMILIES.get(letter, f"Claims {letter}"),
                "tested": [one for one in own if one["word"] != "not tested"],
                "untested": [one for one in own if one["word"] == "not tested"],
            }
        )
    return groups


_COLOURS = {
    "holds": "#00664b",
    "holds except": "#00664b",
    "fails in": "#a83e00",
    "fails": "#a83e00",
    "inconclusive": "#7a5c00",
    "not tested": "#666",
    "error": "#a83e00",
}


def verdicts_html(verdicts: Sequence[Verdict]) -> str:
    """A small table for a notebook; nothing is loaded from anywhere.

    >>> "<table" in verdicts_html([])
    True
    """
    head = "".join(f"<th>{name}</th>" for name in ("", "claim", "verdict", "statistic", "bar", "runs", "reason"))
    body = []
    for one in map(row, verdicts):
        word = f'<b style="color:{_COLOURS[one["word"]]}">{one["sign"]} {one["verdict"]}</b>'
        texts = [one["id"], one["statement"], None, f"{one['statistic']} {one['interval']}", one["bar"], one["runs"]]
        cells = [word if text is None else html.escape(str(text)) for text in (*texts, one["reason"])]
        body.append("<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>")
    return f'<table class="byrote-verdicts"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
