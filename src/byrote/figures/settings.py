"""Which runs may be averaged or compared: those of one setting, all facts equal but loss, rate and seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from byrote.figures.style import LOSSES, dataset_name, network_name
from byrote.store.table import Table

__all__ = ["Setting", "finished", "losses_in", "references", "runs_text", "series", "settings"]

_FACTS = (
    "dataset",
    "classes",
    "num_classes",
    "n_train",
    "network",
    "depth",
    "width",
    "feature_width",
    "noise",
    "epochs",
    "batch_size",
    "optimizer",
    "lr",
    "momentum",
    "weight_decay",
    "schedule",
    "precision",
)
_WORDS = {
    "n_train": "{:,} images",
    "depth": "depth {}",
    "width": "width {}",
    "feature_width": "M = {}",
    "noise": "{} noise",
    "epochs": "{} epochs",
    "batch_size": "batch {}",
    "optimizer": "{}",
    "lr": "lr {:g}",
    "weight_decay": "weight decay {:g}",
    "schedule": "{} schedule",
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
    """Every setting of the table, in the order of its first row, titled by what differs among them."""
    table = series(finished(table))
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
    return _titled(found)


def references(table: Table, *by: str) -> list[Setting]:
    """Of each combination of the facts `by`, the setting with the most runs: the one a figure shows."""
    best: dict[str, Setting] = {}
    for one in settings(table):
        key = "\0".join(str(one.facts.get(name)) for name in by)
        if key not in best or one.table.runs > best[key].table.runs:
            best[key] = one
    return _titled([(one.facts, one.table) for one in best.values()])


def _titled(found: list[tuple[dict[str, object], Table]]) -> list[Setting]:
    """Data set and classes always; of the other facts those that differ among the settings."""
    differing = [
        name for name in _FACTS if len({str(facts.get(name)) for facts, _ in found}) > 1 and name in found[0][0]
    ]
    return [Setting(_title(facts, differing), facts, table) for facts, table in found]


def _title(facts: dict[str, object], differing: list[str]) -> str:
    words = [_subject(facts)]
    if "network" in differing:
        words.append(network_name(str(facts["network"])))
    by_itself = {"dataset", "classes", "num_classes", "network", "momentum"}
    if {"dataset", "classes"} & set(differing):  # these follow from the data and would only repeat it
        by_itself |= {"n_train", "feature_width", "noise", "epochs", "optimizer", "lr", "weight_decay"}
        by_itself |= {"schedule", "depth", "width", "batch_size"}
    words += [_WORDS[name].format(facts[name]) for name in differing if name not in by_itself]
    return ", ".join(words)


def _subject(facts: dict[str, object]) -> str:
    name = dataset_name(str(facts["dataset"]))
    classes = str(facts.get("classes", "all"))
    if classes == "all":
        return f"{name}, {facts['num_classes']} classes" if "num_classes" in facts else name
    listed = classes.split(",")
    return f"{name} {'/'.join(listed)}" if len(listed) <= 4 else f"{name}, {len(listed)} classes"


def runs_text(table: Table) -> str:
    """How many runs a caption speaks of, by how many seeds, and what was left out.

    Collapsed runs (class means coincide: NC1 has no value) and failed runs are said, never dropped silently.
    """
    good = finished(table)
    seeds = len(set(good["seed"].tolist()))
    text = f"n = {good.runs} runs, {seeds} seed{'s' if seeds != 1 else ''}"
    last = good.final()
    collapsed = int(np.sum(last["collapsed"].astype(bool))) if len(last) else 0
    failed = table.runs - good.runs
    left_out = [
        f"{collapsed} collapsed run{'s' if collapsed != 1 else ''} without NC1" * (collapsed > 0),
        f"{failed} failed run{'s' if failed != 1 else ''}" * (failed > 0),
    ]
    left = " and ".join(part for part in left_out if part)
    return f"{text}; left out: {left}" if left else text
