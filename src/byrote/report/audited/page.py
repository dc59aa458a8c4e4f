"""The page of an audit in one offline file: the answer, pictures, the suspects, and the result of the checks."""

from __future__ import annotations

import os
import shlex
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from byrote.audit import Audit
from byrote.audit.folder import PAGE, read_settled
from byrote.audit.shown import Samples
from byrote.figures.offline import OPTIONS, bundle, embed_json
from byrote.figures.style import DARK, LIGHT
from byrote.files import write_atomic
from byrote.pages import fill, text
from byrote.report.audited.answer import answer, bar, premise, share, ways
from byrote.report.audited.charts import picture
from byrote.report.audited.samples import SHOWN, ambiguous, by_class, duplicates
from byrote.report.words import number, opening

__all__ = ["render", "write_audit_page"]

_WIDE = 20  # the largest number of classes in the transition matrix on the page
_FILES = (
    ("labels.csv", "csv", "a row per sample: given and suggested label, score, probability, reason"),
    ("labels.parquet", "parquet", "the same as Parquet"),
    ("labelstudio.json", "labelstudio", "the suspects as tasks of Label Studio"),
    ("cleaned", "imagefolder", "the images by the labels that a person gave"),
)
_OTHER = (
    ("samples.parquet", "every reading of every sample"),
    ("transition.parquet", "the whole transition matrix with its intervals"),
    ("plan.json", "which samples to check"),
    ("answers.csv", "what was answered"),
    ("settled.json", "what the answers settle"),
    ("audit.json", "how the audit was made, with checksums"),
)


def write_audit_page(folder: str | Path) -> Path:
    """Write `index.html` into the folder of an audit, and return the path of the file.

    The page is one file that loads nothing over any network. It shows at most 600 suspects, and states the total number
    of suspects.

    Args:
        folder: the folder of an audit. If a person has checked samples, the page shows the result of the checks.

    Raises:
        FileNotFoundError, ValueError: the folder does not contain an audit.
        ModuleNotFoundError: the `report` extra is not installed.
        byrote.files.WriteError: the disk is full or read-only.
    """
    folder = Path(folder)
    page = render(Audit.load(folder), read_settled(folder), folder)
    return write_atomic(folder / PAGE, page)


def render(audit: Audit, settled: dict[str, Any] | None, folder: Path) -> str:
    """The page as a string."""
    named = shlex.quote(os.path.relpath(folder))
    samples = Samples(audit)
    figure = picture(audit)
    groups = by_class(audit, samples)
    shown = sum(group["shown"] for group in groups)
    source = audit.about.get("source") or {}
    place = str(source.get("path", ""))
    return fill(
        "byrote.report.audited",
        "audit.html.jinja",
        title=f"The labels of {Path(place).name}" if place else "Audit of labels",
        n=len(audit),
        names=audit.names,
        headline=answer(audit, settled, named),
        premise=premise(audit, settled),
        ways=ways(audit, settled),
        settled=settled and _settled(settled),
        figure=figure,
        caption=opening(figure.caption),
        matrix=_matrix(audit),
        confused=_confused(audit),
        groups=groups,
        suspects=len(audit.ranked),
        shown=shown,
        bound=SHOWN,
        calibrated=audit.transition.verdict == "stated",
        ambiguous=ambiguous(audit, samples),
        duplicates=duplicates(audit, samples),
        exports=[(name, what, (folder / name).exists(), f"byrote audit export {named} --to {to}")
                 for name, to, what in _FILES if to != "imagefolder" or source.get("kind") == "images"],
        files=[(name, what) for name, what in _OTHER if (folder / name).exists()],
        facts=_facts(audit, source),
        notes=list(audit.about.get("notes") or ()),
        specs=embed_json({figure.name: figure.spec}),
        options=embed_json(OPTIONS),
        legible={"light": LIGHT, "dark": DARK},
        style=text("byrote.pages", "page.css") + text("byrote.report.audited", "audit.css"),
        script=text("byrote.pages", "charts.js") + text("byrote.pages", "parts.js"),
        bundle=bundle(),
    )  # fmt: skip


def _settled(settled: dict[str, Any]) -> dict[str, Any]:
    shares = [
        {
            "name": one["share"],
            "value": share(one["value"]),
            "ends": f"{share(one['low'])} to {share(one['high'])}",
            "bar": bar(one["value"], one["low"], one["high"]),
        }
        for one in settled["shares"]
    ]
    return settled | {"shares": shares}


def _matrix(audit: Audit) -> dict[str, Any]:
    """The cells of the transition matrix; if there are many classes, only the most confused classes."""
    transition = audit.transition
    if transition.verdict != "stated":
        return {"reason": transition.reason, "rows": [], "premise": transition.premise}
    off = transition.matrix.copy()
    np.fill_diagonal(off, 0)
    strength = off.max(axis=0) + off.max(axis=1)
    strongest = sorted(np.argsort(-strength, kind="stable")[:_WIDE].tolist())
    rows = [
        {
            "name": audit.names[k],
            "cells": [
                {
                    "value": f"{100 * transition.matrix[k, a]:.1f}",
                    "ends": f"{100 * transition.low[k, a]:.0f}–{100 * transition.high[k, a]:.0f}",
                    "faint": bool(transition.matrix[k, a] < 0.005),
                    "own": k == a,
                    "shade": f"{min(100 * transition.matrix[k, a] ** 0.5, 100) * 0.45:.0f}",
                }
                for a in strongest
            ],
        }
        for k in strongest
    ]
    return {
        "rows": rows,
        "names": [audit.names[a] for a in strongest],
        "premise": transition.premise,
        "reason": transition.reason,
        "left": len(audit.names) - len(strongest),
    }


def _confused(audit: Audit) -> list[dict[str, Any]]:
    return [
        {
            "true": pair.true,
            "given": pair.given,
            "share": "" if isnan(pair.share) else share(pair.share),
            "ends": "" if isnan(pair.low) else f"{share(pair.low)} to {share(pair.high)}",
            "count": f"{pair.count:,}",
        }
        for pair in audit.confused
    ]


def _facts(audit: Audit, source: dict[str, Any]) -> list[tuple[str, str]]:
    about = audit.about
    known = [("samples", number(len(audit))), ("classes", number(len(audit.names)))]
    known += [(name, number(about[name])) for name in ("method", "loss", "epochs", "folds", "seed") if name in about]
    known += [("seconds", number(about.get("seconds")))]
    return [*known, *((name, str(source[name])) for name in ("kind", "path", "labels") if source.get(name))]
