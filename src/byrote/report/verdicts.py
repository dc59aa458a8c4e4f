"""The table of verdicts: each verdict in plain words with a color and a sign, and details that unfold on a click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byrote.claims import Verdict
from byrote.claims.shown import SIGNS
from byrote.report.words import number, span

__all__ = ["FAMILIES", "grouped", "mark", "row"]

FAMILIES = {
    "A": "Memorization-dilation (Nguyen et al., ICLR 2023)",
    "B": "Does the loss function matter? (Patel & Sastry, PAKDD 2021)",
    "C": "Past the papers",
}


def row(verdict: Verdict) -> dict[str, Any]:
    """The contents of one verdict's row as text."""
    filled = (name for detail in verdict.details for name, value in detail.items() if value not in (None, ""))
    names = list(dict.fromkeys(filled))
    return {
        "id": verdict.id,
        "statement": verdict.statement,
        **mark(verdict.verdict),
        "marks": [{"name": name, **mark(text)} for name, text in verdict.by_dataset.items()],
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


def mark(text: str) -> dict[str, str]:
    """A verdict's text with the sign and the style of its word.

    >>> mark("fails in 3 of 12 cells")
    {'verdict': 'fails in 3 of 12 cells', 'word': 'fails in', 'sign': '◔', 'css': 'fails-in'}
    """
    word = max((word for word in SIGNS if text.startswith(word)), key=len)
    return {"verdict": text, "word": word, "sign": SIGNS[word], "css": word.replace(" ", "-")}


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return span((value[0], value[1])) if len(value) == 2 else ", ".join(number(one) for one in value)
    return number(value)


def grouped(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts grouped by paper; the verdicts "not tested" are separate from the others."""
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
