"""The page of a report: gather its contents, fill its template, and write the files of figures and tables."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from byrote.analysis import Analysis
from byrote.claims import Verdict
from byrote.claims.shown import SIGNS
from byrote.figures import Drawn, Figure, draw_into
from byrote.figures.offline import OPTIONS, bundle, embed_json
from byrote.figures.style import DARK, LIGHT
from byrote.files import write_atomic
from byrote.pages import fill, text
from byrote.report.agreement import agreement_tables
from byrote.report.export import export_tables, table_rows
from byrote.report.headline import headline
from byrote.report.key import key
from byrote.report.overview import claims_map
from byrote.report.tables import cells, environment, limits, parts, resistance_tables
from byrote.report.verdicts import grouped
from byrote.report.words import opening

__all__ = ["OPENED", "render", "write_report"]

OPENED = 4
"""How many figures are expanded when the page is opened; the others expand when a reader clicks on their titles."""


_SCRIPTS = (("byrote.pages", "charts.js"), ("byrote.pages", "parts.js"), ("byrote.report", "page.js"))


def write_report(
    analysis: Analysis, verdicts: Sequence[Verdict], folder: str | Path, drawn: Drawn | None = None
) -> Path:
    """Write `index.html`, `figures/NAME.{svg,pdf,csv}` and `tables/NAME.csv` into the folder; return the page's path.

    The page is one file that contains its scripts, styles and data and loads nothing over a network. It is written
    last, so that its figures and tables always exist.

    Args:
        analysis: `byrote.open(DIR).analysis`, with at least one finished run.
        verdicts: the result of `byrote.claims.evaluate(analysis)`.
        folder: the folder, which is created if necessary.
        drawn: the result of `byrote.figures.draw_into(folder / "figures", analysis)`; if None, the figures are drawn
            here. The page names each figure whose function raised an exception, with the exception.

    Raises:
        ValueError: there is no finished run.
        ModuleNotFoundError: the `report` extra is not installed.
        byrote.files.WriteError: the disk is full or read-only.
    """
    if not len(analysis.runs):
        raise ValueError(
            "a report needs at least one finished run, but there is none; `byrote status` shows which runs are missing"
        )
    folder = Path(folder)
    drawn = drawn or draw_into(folder / "figures", analysis)
    tables = table_rows(analysis, verdicts)
    export_tables(tables, folder / "tables", "csv")
    page = render(analysis, verdicts, drawn.figures, drawn.raised, list(tables))
    return write_atomic(folder / "index.html", page)


def render(
    analysis: Analysis,
    verdicts: Sequence[Verdict],
    drawn: Sequence[Figure],
    raised: Mapping[str, str] = MappingProxyType({}),
    tables: Sequence[str] = (),
) -> str:
    """The page as a string.

    Args:
        analysis: the runs.
        verdicts: the verdicts on the claims.
        drawn: the figures.
        raised: the exceptions that figures raised, each in one sentence, by the name of the figure.
        tables: the names of the CSV files in the folder `tables` beside the page, to which the page links.
    """
    context = _context(analysis, verdicts, drawn)
    return fill("byrote.report", "page.html.jinja", raised=raised, tables=tables, **context)


def _title(study: str) -> str:
    """The title of a built-in study, or the name of any other study."""
    try:
        return str(tomllib.loads(text("byrote.studies", f"{study}.toml")).get("title") or study)
    except (OSError, ValueError):
        return study


def _example(commands: Sequence[dict[str, Any]]) -> str:
    """The command for the first cell, which readers without JavaScript see."""
    if not commands:
        return ""
    command = str(commands[0]["command"])
    for name, value in next(iter(commands[0]["runs"].values())).items():
        command = command.replace(name, value)
    return command.strip()


def _context(analysis: Analysis, verdicts: Sequence[Verdict], drawn: Sequence[Figure]) -> dict[str, Any]:
    about = analysis.results.about
    words: list[str] = [verdict.word for verdict in verdicts]
    commands = cells(analysis)
    mapped = [one for one in verdicts if one.word != "not tested"] if analysis.given.all() else verdicts
    return {
        "title": _title(str(about.get("study") or "byrote")),
        "scale": about.get("scale") or "",
        "runs": len(analysis.runs),
        "partial": analysis.results.partial,
        "headline": headline(analysis, verdicts),
        "tally": [(word, sign, words.count(word)) for word, sign in SIGNS.items() if words.count(word)],
        "groups": grouped(verdicts),
        "map": claims_map(mapped),
        "key": key(analysis),
        "figures": [(one, *opening(one.caption, analysis.results.partial)) for one in drawn],
        "opened": OPENED,
        "specs": embed_json({one.name: one.spec for one in drawn}),
        "options": embed_json(OPTIONS),
        "resistance": resistance_tables(analysis),
        "agreement": agreement_tables(analysis),
        "parts": parts(analysis),
        "cells": commands,
        "cells_json": embed_json(commands),
        "example": _example(commands),
        "environment": environment(analysis),
        "limits": limits(analysis),
        "legible": {"light": LIGHT, "dark": DARK},
        "style": text("byrote.pages", "page.css"),
        "script": "".join(text(*place) for place in _SCRIPTS),
        "bundle": bundle(),
    }
