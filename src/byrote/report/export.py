"""Export the numbers in the tables and figures of the page as CSV, Parquet and LaTeX files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from byrote.analysis import Analysis
from byrote.analysis.series import Selection, rated
from byrote.claims import Verdict
from byrote.figures import Figure
from byrote.report.agreement import given_settings
from byrote.report.tables import SHARES, parts
from byrote.store.written import Form, write_rows

__all__ = ["export_figures", "export_tables", "table_rows"]

Row = dict[str, Any]
_AGREEMENT = ("j1", "given_agreement", "test_given_agreement")
_CAPTIONS = {
    "verdicts": "one row per claim: its verdict and its first estimate with the 95% interval",
    "cells": "one row per check: what each claim measured in each cell",
    "resistance": "one row per setting, loss and noise rate: means over seeds at the end of training, 95% intervals",
    "agreement": "one row per setting, loss and added noise rate: agreement with the given labels, means over seeds",
    "parts": "one row per part of the study: what was run",
}


def table_rows(analysis: Analysis, verdicts: Sequence[Verdict]) -> dict[str, list[Row]]:
    """The rows of the page's tables by the name of the table, with all digits; empty tables are left out.

    Args:
        analysis: `byrote.open(DIR).analysis`.
        verdicts: the result of `byrote.claims.evaluate(analysis)`.

    Returns:
        `verdicts`, `cells` (each check of each claim), `resistance`, `agreement` and `parts`.
    """
    tables = {
        "verdicts": [_verdict(one) for one in verdicts],
        "cells": [{"claim": one.id, **_flat(detail)} for one in verdicts for detail in one.to_json()["details"]],
        "resistance": _means(rated(analysis.known), (*SHARES, "realised_rate")),
        "agreement": _means(given_settings(analysis), _AGREEMENT),
        "parts": [{name: value for name, value in one.items() if name != "facts"} for one in parts(analysis)],
    }
    return {name: rows for name, rows in tables.items() if rows}


def export_tables(tables: dict[str, list[Row]], folder: str | Path, form: Form) -> list[Path]:
    """Write each table of `table_rows` into a folder as `NAME.csv`, `NAME.parquet` or `NAME.tex`.

    Returns:
        The paths of the files.

    Raises:
        byrote.files.WriteError: the disk is full or read-only.
    """
    return [
        write_rows(Path(folder) / name, rows, form, f"{name}: {_CAPTIONS.get(name, '')}")
        for name, rows in tables.items()
    ]


def export_figures(figures: Sequence[Figure], folder: str | Path, form: Form) -> list[Path]:
    """Write the numbers that figures show into a folder, with one file for each figure.

    Args:
        figures: the result of `byrote.figures.draw(analysis)`.
        folder: the folder, which is created if necessary.
        form: "csv", "parquet" or "latex".

    Returns:
        The paths of the files.

    Raises:
        byrote.files.WriteError: the disk is full or read-only.
    """
    drawn = [(one, one.numbers()) for one in figures]
    return [
        write_rows(Path(folder) / one.name, rows, form, f"{one.title}. {one.caption}") for one, rows in drawn if rows
    ]


def _verdict(one: Verdict) -> Row:
    low, high = one.interval or (None, None)
    plain = one.to_json()
    numbers = {"statistic": plain["statistic"], "low": low, "high": high, "runs": plain["runs"]}
    words = {name: plain[name] for name in ("bar", "published", "reason", "premise")}
    return {"claim": one.id, "statement": one.statement, "verdict": one.verdict, **numbers, **words}


def _flat(detail: Row) -> Row:
    """The row of one check, with the ends of its interval as two columns."""
    row: Row = {}
    for name, value in detail.items():
        pair = isinstance(value, (list, tuple)) and len(value) == 2
        row |= {f"{name}_low": value[0], f"{name}_high": value[1]} if pair else {name: _plain(value)}
    return row


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value


def _means(selections: Sequence[Selection], columns: Sequence[str]) -> list[Row]:
    """The means over seeds at the end of training, with the largest settings first."""
    return [{"setting": one.title, **row} for one in selections for row in one.means(("loss", "rate"), columns)]
