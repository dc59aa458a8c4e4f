"""The notebook view of a store."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byrote.analysis.runs import Analysis
from byrote.table import Table

__all__ = ["store_html"]


def store_html(root: Path, about: Mapping[str, Any], analysis: Analysis) -> str:
    """HTML with the study's name, the number of runs, and a table of settings, in the notebook's own text color."""
    scale = f", scale {about['scale']}" if about.get("scale") else ""
    counts = [f"{len(analysis.runs):,} finished runs"]
    counts += [f"{analysis.failed} failed"] if analysis.failed else []
    counts += [analysis.results.partial] if analysis.results.partial else []
    head = f"<b>{html.escape(str(about.get('study') or root))}</b>{html.escape(scale)} in {html.escape(str(root))}"
    rows = []
    for setting in analysis.settings:
        runs = analysis.runs.take(setting.runs)
        rates = np.unique(np.asarray(runs["rate"], dtype=np.float64))
        rows.append(
            {
                "setting": setting.title,
                "losses": ", ".join(dict.fromkeys(runs["loss"].tolist())),
                "noise rates": ", ".join(f"{rate:g}" for rate in rates[np.isfinite(rates)]),
                "seeds": len(set(runs["seed"].tolist())),
                "runs": len(runs),
            }
        )
    return f"<p>{head}: {html.escape('; '.join(counts))}</p>{Table.of(rows)._repr_html_()}"
