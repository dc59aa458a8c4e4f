"""The page's tables: resistance by loss and noise rate, what was run, on what, and every cell's command."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from byrote.figures.seeds import Spread, spread
from byrote.figures.settings import losses_in, settings
from byrote.figures.style import dataset_name, loss_style, network_name
from byrote.report.rerun import command, specs_of
from byrote.report.words import count, number, percent
from byrote.store.query import Results
from byrote.table import Table

__all__ = ["cells", "environment", "limits", "parts", "resistance_tables"]

_SHARES = ("j1", "j2", "corrupted_as_observed", "corrupted_as_true", "clean_accuracy")


def resistance_tables(results: Results) -> list[dict[str, Any]]:
    """J1, J2, m, t, a and the gap J2(eta) - J2(0) at the end of training, a table a setting, a row a loss and eta."""
    found = settings(results.history)
    names = losses_in(Table.concat([one.table for one in found])) if found else []
    tables = []
    for one in found:
        if not np.any(one.table["rate"] > 0):
            continue
        last = one.table.final()
        rows = [
            _resistance_row(last, loss, rate, names)
            for loss in losses_in(last)
            for rate in sorted(set(last.where(loss=loss)["rate"].tolist()))
        ]
        tables.append({"title": one.with_network, "rows": rows, "runs": last.runs})
    return sorted(tables, key=lambda table: -len(table["rows"]))


def _resistance_row(last: Table, loss: str, rate: float, names: list[str]) -> dict[str, Any]:
    rows = last.where(loss=loss, rate=rate)
    clean = {row["seed"]: row["j2"] for row in last.where(loss=loss, rate=0.0).rows()}
    gaps = [row["j2"] - clean[row["seed"]] for row in rows.rows() if row["seed"] in clean]
    gap = spread(gaps)
    return {
        "loss": loss,
        "colour": loss_style(loss, names).colour,
        "rate": f"{rate:g}",
        "realised": percent(spread(rows["realised_rate"]).mean),
        "cells": [_share(spread(rows[name])) for name in _SHARES],
        "gap": "–" if rate == 0 or not gap.n else f"{100 * gap.mean:+.1f}".replace("-", "−"),
        "n": rows.runs,
    }


def _share(one: Spread) -> dict[str, str]:
    """A mean share, and half its 95% interval in points where there are at least two seeds."""
    half = "" if one.n < 2 else f"±{100 * (one.high - one.mean):.1f}"
    return {
        "text": percent(one.mean),
        "half": half,
        "width": f"{100 * max(0.0, min(1.0, np.nan_to_num(one.mean))):.0f}",
    }


_PART_FACTS = {
    "noise": "noise",
    "n_train": "training images",
    "n_test": "test images",
    "network": "network",
    "depth": "depth",
    "width": "width",
    "feature_width": "M",
    "epochs": "epochs",
    "batch_size": "batch",
    "optimizer": "optimiser",
    "lr": "rate",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "dropout": "dropout",
    "schedule": "schedule",
    "precision": "precision",
}


def parts(results: Results) -> list[dict[str, Any]]:
    """What each part of the study ran: its data, losses, rates, seeds, and settings as they stand in the table."""
    found = []
    for part in dict.fromkeys(results.history["part"].tolist()):
        rows = results.history.where(part=part)
        facts = [
            {"name": words, "value": _distinct(rows, name)}
            for name, words in _PART_FACTS.items()
            if name in rows.columns and _distinct(rows, name) != "–"
        ]
        found.append(
            {
                "name": part,
                "data": ", ".join(sorted({dataset_name(str(kind)) for kind in rows["dataset"]})),
                "classes": _distinct(rows, "classes"),
                "losses": ", ".join(losses_in(rows)),
                "rates": ", ".join(f"{rate:g}" for rate in sorted(set(rows["rate"].tolist()))),
                "seeds": len(set(rows["seed"].tolist())),
                "runs": rows.runs,
                "facts": facts,
            }
        )
    return found


def _distinct(rows: Table, name: str) -> str:
    values = [value for (value,), _ in rows.groups(name)]
    words = [network_name(str(value)) if name == "network" else number(value) for value in values]
    words = [
        f"{value:g}" if isinstance(value, float) and np.isfinite(value) else w
        for value, w in zip(values, words, strict=True)
    ]
    return " or ".join(dict.fromkeys(words)) if len(words) <= 4 else f"{words[0]} to {words[-1]}"


def cells(results: Results) -> list[dict[str, Any]]:
    """For each part, loss and rate: the runs by seed, and the command of one with `SEED` and `KEY` in their places."""
    specs = specs_of(results)
    every = list(specs.values())
    found = []
    last = results.history.final()
    order = {part: place for place, part in enumerate(dict.fromkeys(last["part"].tolist()))}
    groups = sorted(last.groups("part", "loss", "alpha", "rate"), key=lambda group: order[group[0][0]])
    for (part, loss, alpha, rate), rows in groups:
        known = [key for key in rows["key"].tolist() if key in specs]
        if not known:
            continue
        spec = dict(specs[known[0]]) | {"seed": "SEED"}
        text = command(spec, every, results.about, "KEY").replace("'seed=\"SEED\"'", "seed=SEED")
        name = f"{loss} {alpha:g}" if np.isfinite(alpha) else str(loss)
        keys = {str(row["seed"]): row["key"] for row in sorted(rows.rows(), key=lambda row: row["seed"])}
        found.append({"part": part, "loss": name, "rate": f"{rate:g}", "keys": keys, "command": text})
    return found


def environment(results: Results) -> list[tuple[str, str]]:
    """Where the runs and this page were made: machine and versions as recorded, nothing of this machine's paths."""
    about = results.about
    facts: list[tuple[str, str]] = []
    if about.get("study"):
        scale = f", scale {about['scale']}" if about.get("scale") else ""
        facts.append(("study", f"{about['study']}{scale}"))
    planned = about.get("planned")
    done = results.history.runs
    facts.append(("runs", f"{done:,} of {planned:,} planned" if planned else f"{done:,}"))
    if about.get("seconds"):
        facts.append(("training time", f"{number(float(about['seconds']) / 60)} core minutes"))
    facts += [(f"runs: {name}", str(value)) for name, value in (about.get("machine") or {}).items() if value]
    for package in ("byrote", "numpy", "altair", "vl-convert-python"):
        try:
            facts.append((f"page: {package}", version(package)))
        except PackageNotFoundError:
            continue
    facts.append(("page: python", platform.python_version()))
    return facts


def limits(results: Results) -> list[str]:
    """What a reader should hold against this page, from the tables."""
    history = results.history
    last = history.final()
    said = []
    for one in settings(history):
        seeds = len(set(one.table["seed"].tolist()))
        if seeds == 1 and np.any(one.table["rate"] > 0):
            said.append(f"{one.with_network}: one seed, so no interval over seeds; intervals there count samples.")
    sizes = sorted({int(n) for n in last["n_train"]})
    size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    said.append(
        f"Runs have {size} training images. With few images a robust loss may underfit or memorise more than the "
        "papers show; the published values stand beside ours for that reason."
    )
    collapsed = int(np.sum(last["collapsed"].astype(bool)))
    if collapsed:
        said.append(
            f"{collapsed} of {last.runs} runs collapsed (class means coincide): no NC1 and no relative memorization."
        )
    failures = results.about.get("failures") or []
    said += [
        f"Failed: {failure.get('part', '')} {failure.get('key', '')}: {failure.get('error', '')}"
        for failure in failures[:20]
    ]
    left_out = results.about.get("not_run") or []
    for (part, reason), runs in Counter((run["part"], run["reason"]) for run in left_out).items():
        said.append(f"{part}, {count(runs, 'run')}: {reason}")
    missing = int(results.about.get("planned") or 0) - last.runs - len(failures) - len(left_out)
    if missing > 0:
        said.append(f"{missing} planned runs are not done; the same command goes on with them.")
    said.append(
        "η is the nominal rate of the noise law. Uniform noise redraws among all classes, so η (N - 1)/N of the labels "
        "end up wrong; symmetric noise moves to another class, so η of them do. ρ is the share wrong in the run itself."
    )
    return said
