"""Dilation against memorization as the width M of the features varies."""

from __future__ import annotations

from dataclasses import replace

import altair as alt
import numpy as np

from byrote.figures.base import Drawing, figure
from byrote.figures.charts import panels
from byrote.figures.memorization_dilation import draw_panel, ends, fits
from byrote.figures.settings import Setting, losses_in, runs_text, settings
from byrote.store.query import Results
from byrote.table import Table

__all__ = ["feature_width"]


@figure(
    "feature-width",
    title="Memorization and dilation at other widths of the features",
    paper="MD Fig. 2",
    order=60,
)
def feature_width(results: Results) -> Drawing | None:
    """NC1 against raw and relative mem, one panel each a width M, for the data set run at most widths."""
    family = _family(results.history)
    if len(family) < 2:
        return None
    common = set.intersection(*(set(losses_in(one.table)) for one in family))
    family = [replace(one, table=one.table.where(loss=common)) for one in family]
    shown = Table.concat([one.table for one in family])
    names = losses_in(shown)
    if not names:
        return None
    pairs = [(one, x) for x in ("mem_noise_weighted", "mem_weighted_relative") for one in family]
    charts = [draw_panel(one, x, "nc1_test", names) for one, x in pairs]
    titles = [alt.Title(f"M = {one.facts['feature_width']}", subtitle=_slopes(one, x)) for one, x in pairs]
    caption = (
        f"{family[0].title.split(',')[0]}: NC1 on test data against memorization for networks whose features have M "
        "dimensions; raw mem in feature units above, mem / D, a pure number, below. Marks and lines as in the figure "
        f"of all data sets; above each panel the slopes of the fitted lines. {runs_text(family, nc1=True)}"
    )
    return Drawing(panels(charts, titles, columns=len(family), size=(200, 180), names=names), caption)


def _family(history: Table) -> list[Setting]:
    """Of all settings that differ in M alone, the family with most widths: one setting a width, in order."""
    families: dict[str, dict[float, Setting]] = {}
    for one in settings(history):
        rates = {float(rate) for rate in one.table.final()["rate"]}
        if len(rates) < 3 or not np.any(np.isfinite(one.table["nc1_test"])):
            continue
        rest = "\0".join(f"{name}={value}" for name, value in one.facts.items() if name != "feature_width")
        families.setdefault(rest, {})[float(str(one.facts["feature_width"]))] = one
    best = max(
        families.values(), key=lambda family: (len(family), sum(s.table.runs for s in family.values())), default={}
    )
    return [best[width] for width in sorted(best)][:5]


def _slopes(one: Setting, x: str) -> str:
    found = fits(ends(one.table), x, "nc1_test")
    return "slopes  " + "  ".join(f"{loss} {line.slope:.2g}" for loss, line in found.items())
