"""The page itself: everything gathered, one template filled, figures written beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from byrote import figures
from byrote.checks import require
from byrote.claims import Verdict
from byrote.figures import Figure
from byrote.figures.offline import OPTIONS, bundle, embed_json
from byrote.figures.style import DARK
from byrote.files import write_atomic
from byrote.report.headline import headline
from byrote.report.tables import cells, environment, limits, parts, resistance_tables
from byrote.report.verdicts import SIGNS, grouped
from byrote.store.query import Results

__all__ = ["render", "write_report"]


def write_report(results: Results, verdicts: Sequence[Verdict], folder: str | Path) -> Path:
    """Write `index.html` and `figures/NAME.{svg,pdf}` into the folder; gives the page's path.

    The page is one file that asks nothing of any network: scripts, styles and data are inside. It is written last,
    so a page that exists has its figures.

    Args:
        results: the tables; at least one run.
        verdicts: what `byrote.claims.evaluate(results)` gave.
        folder: made if absent.

    Raises:
        ValueError: the results hold no run.
        ModuleNotFoundError: the `report` extra is not installed.
        byrote.files.WriteError: the disk is full or read-only.
    """
    if not len(results.history):
        raise ValueError("a report needs at least one finished run, got none; `byrote status` says what is missing")
    folder = Path(folder)
    drawn = figures.draw(results)
    for one in drawn:
        figures.save(one, folder / "figures")
    return write_atomic(folder / "index.html", render(results, verdicts, drawn))


def render(results: Results, verdicts: Sequence[Verdict], drawn: Sequence[Figure]) -> str:
    """The page as text."""
    jinja2 = require("jinja2", "report")
    loader = jinja2.FunctionLoader(_text)
    environment_ = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return str(environment_.get_template("page.html.jinja").render(_context(results, verdicts, drawn)))


def _text(name: str) -> str:
    return (resources.files("byrote.report") / name).read_text("utf-8")


def _title(study: str) -> str:
    """The title of a built-in study, read as data; another study's own name."""
    try:
        text = (resources.files("byrote.studies") / f"{study}.toml").read_text("utf-8")
        return str(tomllib.loads(text).get("title") or study)
    except (OSError, ValueError):
        return study


def _example(commands: Sequence[dict[str, Any]]) -> str:
    """The first cell's command, for a reader without JavaScript."""
    if not commands:
        return ""
    seed, key = next(iter(commands[0]["keys"].items()))
    return str(commands[0]["command"]).replace("SEED", seed).replace("KEY", key)


def _context(results: Results, verdicts: Sequence[Verdict], drawn: Sequence[Figure]) -> dict[str, Any]:
    about = results.about
    words: list[str] = [verdict.verdict for verdict in verdicts]
    commands = cells(results)
    return {
        "title": _title(str(about.get("study") or "byrote")),
        "scale": about.get("scale") or "",
        "runs": results.history.runs,
        "headline": headline(results, verdicts),
        "tally": [(word, sign, words.count(word)) for word, sign in SIGNS.items() if words.count(word)],
        "groups": grouped(verdicts),
        "figures": drawn,
        "specs": embed_json({one.name: one.spec for one in drawn}),
        "options": embed_json(OPTIONS),
        "resistance": resistance_tables(results),
        "parts": parts(results),
        "cells": commands,
        "cells_json": embed_json(commands),
        "example": _example(commands),
        "environment": environment(results),
        "limits": limits(results),
        "dark": DARK,
        "style": _text("page.css"),
        "script": _text("page.js"),
        "bundle": bundle(),
    }
