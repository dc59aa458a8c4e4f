"""Find the missing runs that would decide a claim at the least cost, for `byrote run --first claims`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from byrote.analysis import Setting
from byrote.analysis.specs import ABSENT, flatten
from byrote.identity import identity

if TYPE_CHECKING:
    from byrote.claims.verdict import Verdict
    from byrote.store import Entry

__all__ = ["worth"]

_MOST = 100  # the largest number of added seeds that a forecast considers


def worth(
    settings: Sequence[Setting], verdicts: Iterable[Verdict], missing: Iterable[Entry], costs: Mapping[str, float]
) -> dict[str, float]:
    """The worth of each missing run: the chance that it helps to decide a claim, per multiply-add, summed over claims.

    The forecast of an inconclusive claim gives the number of seeds that would decide it, and the chance that
    they do (`byrote.analysis.power`). The price of a claim is the cost of these seeds in its open cells. Each run among
    these seeds is worth the chance divided by the price, and runs with further seeds are worth nothing. A claim whose
    cells have no finished run has no forecast.

    Args:
        settings: the settings of the finished runs, see `Analysis.settings`.
        verdicts: the verdicts on the finished runs.
        missing: the planned runs that are not finished, in the order of the plan.
        costs: multiply-adds of each run, by key.

    Returns:
        The worth of each run whose worth is above 0, by key.
    """
    places = {entry.key: (_setting_of(entry, settings), entry) for entry in missing}
    worth_of: dict[str, float] = defaultdict(float)
    for verdict in verdicts:
        if verdict.word != "inconclusive" or verdict.forecast is None:
            continue
        power = verdict.forecast()
        cells = {str(row["cell"]) for row in verdict.details if row.get("verdict") == "open" and "cell" in row}
        runs = _first_seeds(cells, places.values(), _MOST if power.seeds is None else power.seeds)
        price = sum(costs.get(key, 0.0) for key in runs)
        if price > 0:
            for key in runs:
                worth_of[key] += power.chance / price
    return dict(worth_of)


def _setting_of(entry: Entry, settings: Sequence[Setting]) -> str:
    """The title of the setting of a planned run; empty if no finished run has this setting."""
    fields = flatten(identity(entry.spec, entry.contents))
    for setting in settings:
        if all(fields.get(path, ABSENT) == value for path, value in setting.fields.items()):
            return setting.title
    return ""


def _first_seeds(cells: Iterable[str], places: Iterable[tuple[str, Entry]], seeds: int) -> list[str]:
    """The keys of the next missing runs of these cells: at most `seeds` runs for each setting, loss and rate."""
    placed = list(places)
    titles = {title for title, _ in placed if title}
    wanted = [(_titles_of(cell, titles), _rate_in(cell)) for cell in cells]
    counts: dict[tuple[str, str, float], int] = defaultdict(int)
    keys = []
    for title, entry in placed:
        rate = float(entry.spec["noise"].get("rate") or 0.0)
        if any(title in named and (eta is None or abs(eta - rate) < 1e-9) for named, eta in wanted):
            place = title, str(entry.spec["loss"]), rate
            counts[place] += 1
            if counts[place] <= seeds:
                keys.append(entry.key)
    return keys


def _titles_of(cell: str, titles: Iterable[str]) -> set[str]:
    """The settings that a cell's name refers to.

    The name of a cell is the title of its setting, perhaps followed by a loss, a rate, or another value. If several
    titles begin the name, the longest is the setting. If no title does, the claim joins several settings under a common
    name, and the cell refers to every setting whose title begins with this name.
    """
    begins = [title for title in titles if _begins(title, cell)]
    return {max(begins, key=len)} if begins else {title for title in titles if _begins(cell, title)}


def _begins(start: str, text: str) -> bool:
    return text.startswith(start) and text[len(start) : len(start) + 1] in ("", " ", ",")


def _rate_in(cell: str) -> float | None:
    match = re.search(r"\beta (\d*\.?\d+)", cell)
    return float(match.group(1)) if match else None
