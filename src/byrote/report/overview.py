"""The map of claims by data set: an overview of the verdicts, each with its sign, its word and its first estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byrote.claims import Verdict
from byrote.claims.shown import SIGNS
from byrote.report.verdicts import FAMILIES, mark
from byrote.report.words import number, span

__all__ = ["TOGETHER", "claims_map", "first_estimate"]

Cell = dict[str, str]
TOGETHER = "judged over all data sets together"
"""The text of the map for a claim that was tested, but not on each data set separately."""


def claims_map(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The map of claims: a row for each claim, a column for all runs together, and a column for each data set.

    Args:
        verdicts: the result of `byrote.claims.evaluate(analysis)`.

    Returns:
        `columns`, the data sets; `groups`, the rows of each paper, each with the id and statement of its claim and a
        cell per column; `legend`, the signs on the map, each with its word. Without tested claims it is empty.
    """
    if all(one.word == "not tested" for one in verdicts):
        return {}
    columns = list(dict.fromkeys(name for one in verdicts for name in one.by_dataset))
    groups = [
        (FAMILIES.get(letter, f"Claims {letter}"), [_row(one, columns) for one in verdicts if one.id[:1] == letter])
        for letter in dict.fromkeys(one.id[:1] for one in verdicts)
    ]
    rows = [row for _, some in groups for row in some]
    shown = {cell["word"]: cell for row in rows for cell in row["cells"]}
    legend = [shown[word] for word in (*SIGNS, TOGETHER) if word in shown]
    return {
        "columns": columns,
        "groups": [{"title": title, "rows": rows} for title, rows in groups],
        "legend": legend,
    }


def _row(verdict: Verdict, columns: Sequence[str]) -> dict[str, Any]:
    whole = _estimate(verdict.statistic, verdict.interval, {"runs": verdict.runs})
    cells = [_cell("all runs", verdict.verdict, whole)]
    absent = "not tested" if verdict.by_dataset or verdict.word in ("not tested", "error") else TOGETHER
    for name in columns:
        text = verdict.by_dataset.get(name, absent)
        cells.append(_cell(name, text, first_estimate(verdict, name, columns) if name in verdict.by_dataset else ""))
    return {"id": verdict.id, "statement": verdict.statement, "cells": cells}


def _cell(where: str, text: str, estimate: str) -> Cell:
    shown = {"verdict": text, "word": text, "sign": "·", "css": "together"} if text == TOGETHER else mark(text)
    return shown | {"title": "; ".join(part for part in (f"{where}: {text}", estimate) if part)}


def first_estimate(verdict: Verdict, dataset: str, columns: Sequence[str]) -> str:
    """The first estimate of a claim on a data set, with its interval and n; empty if there is no estimate.

    Args:
        verdict: the verdict on the claim.
        dataset: the name of the data set.
        columns: the names of all data sets. A check belongs to the data set with the longest name that begins its cell.
    """
    for detail in verdict.details:
        cell, value = str(detail.get("cell", "")), detail.get("value")
        names = [name for name in columns if cell == name or cell.startswith((f"{name} ", f"{name},"))]
        if isinstance(value, (int, float)) and names and max(names, key=len) == dataset:
            low, high = detail.get("low"), detail.get("high")
            ends = (float(low), float(high)) if low is not None and high is not None else None
            return f"{detail.get('what', '')} {_estimate(float(value), ends, detail)}".strip()
    return ""


def _estimate(value: float | None, interval: tuple[float, float] | None, counts: Mapping[str, Any]) -> str:
    """A text with a number, its interval, and the number of seeds, or else of runs.

    >>> _estimate(0.5, (0.25, 0.75), {"seeds": 3}), _estimate(0.5, (0.5, 0.5), {"seeds": 1})
    ('0.5 [0.25, 0.75], n = 3 seeds', '0.5, one seed')
    """
    if value is None:
        return ""
    seeds, runs = counts.get("seeds"), counts.get("runs")
    if seeds == 1 and (interval is None or interval[0] == interval[1]):
        return f"{number(value)}, one seed"
    n = f", n = {number(seeds)} seeds" if seeds else f", n = {number(runs)} runs" if runs else ""
    return f"{number(value)} {span(interval)}".strip() + n
