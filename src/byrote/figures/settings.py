"""Which runs may be averaged or compared: those of one setting, all facts equal but loss, rate and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from byrote.figures.style import LOSSES, dataset_name, network_name
from byrote.store.coincide import marked
from byrote.table import Table

__all__ = ["Setting", "finished", "losses_in", "references", "runs_text", "series", "settings", "telling_rate"]

_FACTS = (
    "dataset",
    "classes",
    "num_classes",
    "n_train",
    "balance",
    "preprocessing",
    "resolution",
    "network",
    "depth",
    "width",
    "feature_width",
    "noise",
    "labels",
    "epochs",
    "batch_size",
    "optimizer",
    "lr",
    "momentum",
    "weight_decay",
    "dropout",
    "schedule",
    "precision",
    "start",
)
_WORDS = {
    "n_train": "{:,} images",
    "balance": "balance {}",
    "preprocessing": "{} inputs",
    "resolution": "{:g} pixels",
    "depth": "depth {}",
    "width": "width {}",
    "feature_width": "M = {}",
    "noise": "{} noise",
    "labels": "labels {}",
    "epochs": "{} epochs",
    "batch_size": "batch {}",
    "optimizer": "{}",
    "lr": "lr {:g}",
    "weight_decay": "weight decay {:g}",
    "dropout": "dropout {:g}",
    "schedule": "{} schedule",
    "start": "started {}",
    "precision": "{}",
}


@dataclass(frozen=True)
class Setting:
    """Runs of equal facts but loss, rate and seed, and a title that tells this setting from its neighbours."""

    title: str
    facts: dict[str, object]
    table: Table

    @property
    def with_network(self) -> str:
        """The title, with the network's name where it does not stand there already."""
        name = network_name(str(self.facts["network"]))
        return self.title if name in self.title else f"{self.title}, {name}"


def finished(table: Table) -> Table:
    """The rows of runs that did not fail."""
    return table.where(table["status"] != "failed") if "status" in table.columns else table


def series(table: Table) -> Table:
    """The table with `loss` naming the variant too, where one loss was run with several alphas.

    The alpha with the most runs keeps the plain name: RLL (alpha .1) beside "RLL .45".
    """
    last = table.final()
    uses: dict[str, Counter[float]] = {}
    for loss, alpha in zip(last["loss"], last["alpha"], strict=True):
        if np.isfinite(alpha):
            uses.setdefault(str(loss), Counter())[round(float(alpha), 9)] += 1
    plain = {loss: max(sorted(count), key=lambda alpha: count[alpha]) for loss, count in uses.items()}
    names = [
        str(loss)
        if not np.isfinite(alpha) or round(float(alpha), 9) == plain[str(loss)]
        else f"{loss} {alpha:g}".replace(" 0.", " .")
        for loss, alpha in zip(table["loss"], table["alpha"], strict=True)
    ]
    return Table({name: table[name] for name in table.columns} | {"loss": np.array(names, dtype=object)})


def losses_in(table: Table) -> list[str]:
    """The losses of a table in one order everywhere: the papers' first, then the others by name."""
    order = {name: place for place, name in enumerate(LOSSES)}
    return sorted({str(loss) for loss in table["loss"]}, key=lambda loss: (order.get(loss, len(order)), loss))


def settings(table: Table) -> list[Setting]:
    """Every setting of the table, those with the most runs first, titled by what differs among them.

    Runs without a nominal noise rate (recorded labels) are left out: they have no place on a grid of rates.
    """
    table = finished(table)
    if not len(table):
        return []
    table = series(marked(table.where(rate=np.isfinite)))
    facts = [name for name in _FACTS if name in table.columns]
    columns = [table[name] for name in facts]
    places: dict[str, list[int]] = {}
    for row, values in enumerate(zip(*columns, strict=True)):
        places.setdefault("\0".join(map(str, values)), []).append(row)
    found: list[tuple[dict[str, object], Table]] = []
    for rows in places.values():
        mask = np.zeros(len(table), dtype=bool)
        mask[rows] = True
        found.append(({name: column[rows[0]] for name, column in zip(facts, columns, strict=True)}, table.where(mask)))
    return _titled(sorted(found, key=lambda one: -one[1].runs))


def references(table: Table, *by: str, among: Callable[[Setting], object] = lambda one: True) -> list[Setting]:
    """Of each combination of the facts `by`, the setting with the most runs: the one a figure shows.

    Among equals it is the one under the noise that most runs of the table have.

    Args:
        table: rows of runs.
        by: facts.
        among: true of the settings that have something to show at all.
    """
    best: dict[str, Setting] = {}
    found = [one for one in settings(table) if among(one)]
    noise: Counter[str] = Counter()
    for one in found:
        noise[str(one.facts.get("noise"))] += one.table.runs
    for one in sorted(found, key=lambda one: (-one.table.runs, -noise[str(one.facts.get("noise"))])):
        best.setdefault("\0".join(str(one.facts.get(name)) for name in by), one)
    return _titled([(one.facts, one.table) for one in best.values()])


def _titled(found: list[tuple[dict[str, object], Table]]) -> list[Setting]:
    """Data set and classes always; of the other facts those that differ among the settings of the same data."""
    made = []
    for facts, table in found:
        subject = _subject(facts)
        alike = [other for other, _ in found if _subject(other) == subject]
        differing = [name for name in _FACTS if len({str(other.get(name)) for other in alike}) > 1]
        made.append(Setting(", ".join([subject, *_told(facts, differing)]), facts, table))
    return made


def _told(facts: dict[str, object], differing: list[str]) -> list[str]:
    """What differs, in words; what only follows from something else that differs is not repeated."""
    words = [network_name(str(facts["network"]))] if "network" in differing else []
    follows = {
        "network": (
            "depth",
            "width",
            "feature_width",
            "optimizer",
            "lr",
            "momentum",
            "weight_decay",
            "schedule",
            "epochs",
        )
    }
    hidden = {name for cause, names in follows.items() if cause in differing for name in names}
    if "epochs" in differing:  # doubled runs double every stage of the schedule
        hidden.add("schedule")
    shown = [name for name in differing if name in _WORDS and name not in hidden]
    return words + [
        _WORDS[name].format(facts[name]) for name in shown if facts[name] == facts[name] and facts[name] != ""
    ]


def _subject(facts: dict[str, object]) -> str:
    name = dataset_name(str(facts["dataset"]))
    classes = str(facts.get("classes", "all"))
    if classes == "all":
        return f"{name}, {facts['num_classes']} classes" if "num_classes" in facts else name
    listed = classes.split(",")
    return f"{name} {'/'.join(listed)}" if len(listed) <= 4 else f"{name}, {len(listed)} classes"


def telling_rate(one: Setting) -> float:
    """The rate above 0 with the most losses; among equals the one nearest .2."""
    rates = sorted({float(rate) for rate in one.table["rate"] if rate > 0})
    return max(rates, key=lambda rate: (len(losses_in(one.table.where(rate=rate))), -abs(rate - 0.2)))


def runs_text(shown: list[Setting], nc1: bool = False, by: tuple[str, ...] = ("loss", "rate")) -> str:
    """How many runs a caption speaks of, and by how many seeds a cell (loss and rate), setting by setting.

    Args:
        shown: the settings drawn.
        nc1: the figure needs NC1, which a collapsed run (class means coincide) does not have: say how many.
        by: what makes a cell.
    """
    parts = [f"{_runs([one.table], by)} of {one.title}" for one in shown] if 1 < len(shown) <= 3 else []
    text = f"n: {'; '.join(parts) or _runs([one.table for one in shown], by)}"
    collapsed = sum(int(np.sum(one.table.final()["collapsed"].astype(bool))) for one in shown) if nc1 else 0
    left = f"; left out: {collapsed} collapsed run{'s' * (collapsed != 1)}, without NC1" if collapsed else ""
    return f"{text}{left}."


def _runs(tables: list[Table], by: tuple[str, ...]) -> str:
    cells = [rows.runs for table in tables for _, rows in table.final().groups(*by)]
    low, high = min(cells, default=0), max(cells, default=0)
    seeds = f"{high} seed{'s' * (high != 1)}" if low == high else f"{low} to {high} seeds"
    return f"{sum(table.runs for table in tables)} runs ({seeds} a cell)"
