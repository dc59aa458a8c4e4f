"""The tables of the page: resistance by loss and noise rate, the parts of the study, machines, and commands."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis
from byrote.analysis.labels import dataset_name, network_name
from byrote.analysis.series import NETWORK, Selection, in_order, losses_of, one_each, rated, reference_rate
from byrote.analysis.statistics import paired_difference
from byrote.figures.style import loss_style
from byrote.identity import SEEDS
from byrote.report.agreement import given_limits
from byrote.report.rerun import command, seeds, varying
from byrote.report.words import count, joined, mean_share, number, percent

__all__ = ["SHARES", "cells", "environment", "limits", "parts", "resistance_tables"]

SHARES = ("j1", "j2", "corrupted_as_observed", "corrupted_as_true", "clean_accuracy")
"""The shares at the end of training in the table of resistance: J1, J2, m, t and a."""
_SIZES = {"n_train": "training images", "n_test": "test images", "feature_width": "M"}
_LISTED = 20  # the largest number of failed runs listed by name
_SHOWN = ("data.kind", "data.classes", "network.kind", "noise.kind")


def resistance_tables(analysis: Analysis) -> list[dict[str, Any]]:
    """A table per setting with J1, J2, m, t, a and the gap J2(eta) - J2(0) after training, by loss and eta.

    `rate` in a table is the noise rate whose rows the page shows first.
    Runs with unknown true labels have separate tables, see `byrote.report.agreement`.
    """
    every = rated(analysis.known)
    names = losses_of(every)
    noisy = [one for one in every if max(one.rates) > 0]
    tables = [
        {
            "title": one.title,
            "rate": f"{reference_rate(one):g}",
            "rows": _resistance_rows(one, names),
            "runs": len(one),
        }
        for one in noisy
    ]
    return sorted(tables, key=lambda table: -len(table["rows"]))


def _resistance_rows(one: Selection, names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for mean in one.means(("loss", "rate"), (*SHARES, "realised_rate"), within=None):
        loss, rate = mean["loss"], mean["rate"]
        mine = one.of_losses(loss)
        rows.append(
            {
                "loss": loss,
                "color": loss_style(loss, names).color,
                "rate": f"{rate:g}",
                "realised": percent(mean["realised_rate"]),
                "cells": [mean_share(mean, name) for name in SHARES],
                "gap": _gap(mine, rate) if rate else "–",
                "n": len(mine.at_rate(rate)),
            }
        )
    return rows


def _gap(one: Selection, rate: float) -> str:
    """J2 at a rate minus J2 at rate 0, in points: the mean over the seeds with both rates, or a dash without seeds."""
    noisy, clean = ((at.last("j2"), at.seeds.tolist(), [0] * len(at)) for at in (one.at_rate(rate), one.at_rate(0.0)))
    gap = paired_difference(noisy, clean).estimate()
    return f"{100 * gap.value:+.1f}".replace("-", "−") if gap.n else "–"


def parts(analysis: Analysis) -> list[dict[str, Any]]:
    """A row for each part of the study: its data, losses, rates, seeds, and the fields of its specs."""
    runs, rows = analysis.runs, []
    for part in dict.fromkeys(runs["part"].tolist()):
        mine = runs["part"] == part
        rates = runs["rate"][mine]
        words = [f"{rate:g}" for rate in np.unique(rates[np.isfinite(rates)])]
        words += ["as recorded"] if not np.isfinite(rates).all() else []
        rows.append(
            {
                "name": part,
                "data": joined(sorted({dataset_name(str(kind)) for kind in runs["dataset"][mine]})),
                "classes": _distinct(list(dict.fromkeys(runs["classes"][mine].tolist()))),
                "losses": ", ".join(in_order(runs["loss"][mine].tolist())),
                "rates": ", ".join(words),
                "seeds": len(set(runs["seed"][mine].tolist())),
                "runs": int(mine.sum()),
                "facts": _facts(analysis, mine),
            }
        )
    return rows


def _facts(analysis: Analysis, mine: NDArray[np.bool_]) -> list[dict[str, str]]:
    """The noise laws, networks and sizes of some runs, and the other fields of their settings that have values."""
    runs = analysis.runs
    networks = [network_name(str(kind)) for kind in dict.fromkeys(runs["network"][mine].tolist())]
    facts = {"noise": _distinct(list(dict.fromkeys(runs["noise"][mine].tolist()))), "network": _distinct(networks)}
    for name, words in _SIZES.items():
        if name in runs:
            facts[words] = _distinct(np.unique(runs[name][mine]).tolist())
    fields = _settings_of(analysis, mine)
    for path in dict.fromkeys(path for one in fields for path in one):
        values = [one[path] for one in fields if one.get(path) is not None]
        if path not in _SHOWN and any(value not in ("", [], 0, False) for value in values):
            *_, parent, leaf = ("", *path.split("."))
            words = f"{parent} {leaf}" if parent not in ("", "data", "network", "noise", "training") else leaf
            facts.setdefault(words.replace("_", " "), _distinct(_unique(values)))
    return [{"name": name, "value": value} for name, value in facts.items() if value != "–"]


def _settings_of(analysis: Analysis, mine: NDArray[np.bool_]) -> list[Mapping[str, Any]]:
    return [setting.fields for setting in analysis.settings if mine[setting.runs].any()]


def _unique(values: Iterable[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _distinct(values: list[Any]) -> str:
    """A text that lists all values if there are at most four, and otherwise the first and the last."""
    words = list(dict.fromkeys(_word(value) for value in values))
    return " or ".join(words) if len(words) <= 4 else f"{words[0]} to {words[-1]}"


def _word(value: Any) -> str:
    if isinstance(value, float) and np.isfinite(value):
        return f"{value:g}"
    return "/".join(map(_word, value)) if isinstance(value, (list, tuple)) else number(value)


def cells(analysis: Analysis) -> list[dict[str, Any]]:
    """The command for each part, setting, loss and rate, and for each seed the values of its `SEEDS` and `KEY`."""
    runs, specs = analysis.runs, analysis.results.specs
    differing = varying(specs.values())
    title = {int(run): setting.title for setting in analysis.settings for run in setting.runs}
    columns = (runs["part"], runs["setting"], runs["loss_setting"], runs["rate"].astype(str))
    places: dict[tuple[Any, ...], list[int]] = {}
    for run, cell in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        places.setdefault(cell, []).append(run)
    first = {part: number for number, part in enumerate(dict.fromkeys(runs["part"].tolist()))}
    rows = []
    for (part, *_), mine in sorted(places.items(), key=lambda item: (first[item[0][0]], *item[0][1:])):
        run, keys = mine[0], [str(runs["key"][one]) for one in mine]
        spec = {path: value for path, value in specs[keys[0]].items() if path not in SEEDS}
        rate = float(runs["rate"][run])
        rows.append(
            {
                "part": part,
                "setting": title[run],
                "loss": str(runs["loss"][run]),
                "rate": f"{rate:g}" if np.isfinite(rate) else "as recorded",
                "command": f"{command(spec, differing, analysis.results.about, 'KEY')} SEEDS",
                "runs": {
                    _seed(specs[key]): {"SEEDS": seeds(specs[key], differing), "KEY": key}
                    for key in sorted(keys, key=lambda key: [specs[key].get(path) or 0 for path in SEEDS])
                },
            }
        )
    return rows


def _seed(spec: Mapping[str, Any]) -> str:
    """The seed of a run, and the seeds of its noise and split if these are set separately."""
    apart = {name: spec.get(f"{name}_seed") for name in ("noise", "split")}
    words = [f"{name} {value}" for name, value in apart.items() if value is not None]
    return ", ".join([str(spec.get("seed", 0)), *words])


def environment(analysis: Analysis) -> list[tuple[str, str]]:
    """The machines and versions with which the runs and this page were made, without paths of files on this machine."""
    about = analysis.results.about
    facts: list[tuple[str, str]] = []
    if about.get("study"):
        scale = f", scale {about['scale']}" if about.get("scale") else ""
        facts.append(("study", f"{about['study']}{scale}"))
    planned = about.get("planned")
    done = len(analysis.runs)
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


def limits(analysis: Analysis) -> list[str]:
    """Sentences on the limits of the results, computed from the tables."""
    alone = [one.title for one in rated(analysis) if len(np.unique(one.seeds)) == 1 and max(one.rates) > 0]
    lines = [
        f"{title} has one seed and therefore no intervals over seeds; its intervals come from counts of samples."
        for title in alone
    ]
    if "n_train" in analysis.runs:
        low, high = (int(bound(analysis.last("n_train"))) for bound in (np.nanmin, np.nanmax))
        size = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        few = (
            " With few images a robust loss may underfit or memorize more than the papers show, which is why the "
            "published values are shown beside ours."
        )
        lines.append(f"Runs have {size} training images.{'' if analysis.given.all() else few}")
    collapsed, runs = int(analysis.collapsed.sum()), len(analysis.runs)
    if collapsed:
        lines.append(
            f"{collapsed} of {runs:,} runs collapsed (class means coincide): NC1 and relative values are undefined."
        )
    lines += [*_variations(analysis), *_left_out(analysis), *given_limits(analysis)]
    changed, share = (
        ("change", "")
        if analysis.given.all()
        else ("end up wrong", " ρ is the share of labels that are wrong in a run.")
    )
    lines.append(
        "η is the nominal rate of the noise law. Uniform noise redraws a label among all classes, so η (N - 1)/N of "
        f"the labels {changed}. Symmetric noise moves a label to another class, so η of the labels {changed}.{share}"
    )
    return lines


def _variations(analysis: Analysis) -> list[str]:
    """A sentence on the settings that most figures do not show."""
    shown = {one.title for one in one_each(rated(analysis), NETWORK)}
    others = [setting.title for setting in analysis.settings if setting.title not in shown]
    if not others:
        return []
    return [
        "Most figures show one setting of each data set and network, the one with the most runs. The other settings "
        f"are in the tables, and in figures of the field that they vary: {'; '.join(others)}."
    ]


def _left_out(analysis: Analysis) -> list[str]:
    """Sentences on the runs that are not on the page: failed, of older versions, without data, or missing."""
    results, about = analysis.results, analysis.results.about
    failed = np.flatnonzero(results.runs["status"] == "failed")
    columns = (results.runs[name][failed[:_LISTED]].tolist() for name in ("part", "key", "error"))
    lines = [f"Failed: {part} {key}: {error}" for part, key, error in zip(*columns, strict=True)]
    if len(failed) > _LISTED:
        lines.append(f"{len(failed)} runs failed in all; they are left out.")
    for name, number_of in (about.get("older_versions") or {}).items():
        lines.append(f"Left out: {count(number_of, 'run')} of an older version of a file or module ({name}).")
    without = about.get("not_run") or []
    for (part, reason), runs in Counter((run["part"], run["reason"]) for run in without).items():
        lines.append(f"{part}, {count(runs, 'run')}: {reason}")
    missing = int(about.get("planned") or 0) - len(results.runs) - len(without)
    if missing > 0:
        lines.append(f"{missing} planned runs are not done; the same command continues with them.")
    return lines
