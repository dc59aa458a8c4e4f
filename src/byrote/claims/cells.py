"""Which runs a claim compares: settings, pairs of losses by seed, premises, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.claims.statistics import Estimate, mean_over_seeds, minus
from byrote.claims.verdict import NotTested
from byrote.store import Results
from byrote.store.coincide import marked
from byrote.table import Table

__all__ = [
    "MEMORISED",
    "SETTING",
    "Cell",
    "Runs",
    "cells",
    "doubled",
    "estimate",
    "gap",
    "name_of",
    "paired",
    "read",
    "under_trained",
]

Array = NDArray[np.float64]
MEMORISED = 0.98  # J1 of cross-entropy from which a cell counts as trained to memorise
SETTING = (
    *("dataset", "classes", "num_classes", "n_train", "balance", "preprocessing", "resolution"),
    *("network", "depth", "width", "feature_width", "noise", "labels"),
    *("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "dropout", "schedule", "precision"),
)
_ALIKE = ("dataset", "classes", "network", "noise")  # what settings share that may be variations of one another
_PAPER_ALPHA = 0.1  # the parameter both papers use; other values are sensitivity runs
_READ = ("loss", "rate", "seed", "epochs", "collapsed")
_WITH_ALPHA = ("LS", "LR", "RLL")


@dataclass(frozen=True)
class Runs:
    """The runs a claim may use: `final` has a row a run, `history` a row a run and evaluated epoch.

    Both carry the run's number in `run`, an integer that stands for its key.
    """

    final: Table
    history: Table
    notes: tuple[str, ...] = ()

    def only(self, mask: NDArray[np.bool_]) -> Runs:
        """The runs where the mask over `final` is true."""
        final = self.final.where(mask)
        return Runs(final, self.history.where(np.isin(self.history["run"], final["run"])), self.notes)

    def where(self, **conditions: object) -> Runs:
        """The runs whose final row meets the conditions."""
        return self.only(np.isin(self.final["run"], self.final.where(**conditions)["run"]))


def doubled(final: Table) -> NDArray[np.bool_]:
    """Which runs repeat another at twice the epochs (every stage doubled), all else but the schedule equal."""
    again = np.zeros(len(final), dtype=bool)
    same = [name for name in (*SETTING, "loss", "alpha", "rate") if name in final]
    same = [name for name in same if name not in ("epochs", "schedule")]
    at = final.with_column("_row", np.arange(len(final)))
    for _, group in at.groups(*same):
        epochs = group["epochs"]
        again[group["_row"][np.isin(epochs, 2 * np.unique(epochs))]] = True
    return again


def read(results: Results, *, with_doubled: bool = False, with_starts: bool = False) -> Runs:
    """The finished runs a claim may use, and a note for each kind that is left out.

    Left out: failed runs; runs whose class means coincide (`collapsed`, see `byrote.store.coincide`); runs of a loss at
    another alpha than the papers' 0.1; reruns with every stage doubled and runs started from memorised weights, unless
    asked for.
    """
    history = results.history
    if "status" in history:
        history = history.where(status="done")
    if not len(history):
        raise NotTested("no finished run")
    missing = [name for name in _READ if name not in history]
    if missing:
        raise NotTested(f"the table has no column {', '.join(missing)}")
    history = marked(history)
    history = history.with_column("run", np.unique(history["key"], return_inverse=True)[1])
    final = history.final()
    notes: list[str] = []
    failed = results.history.runs - final.runs + len(results.about.get("failures", []))
    if failed:
        notes.append(f"failed runs left out: {failed}")
    kept = np.ones(len(final), dtype=bool)
    collapsed = final["collapsed"].astype(bool)
    if collapsed.any():
        notes.append(f"collapsed runs left out: {int(collapsed.sum())}")
        kept &= ~collapsed
    if "alpha" in final:
        other = np.isin(final["loss"], _WITH_ALPHA) & ~np.isclose(final["alpha"], _PAPER_ALPHA)
        kept &= ~other
    whole = results.history.final()
    final = final.with_column("_variation", np.isin(final["key"], whole["key"][_variations(whole)]))
    if not with_doubled:
        kept &= ~doubled(final)
    if "start" in final and not with_starts:
        kept &= final["start"] != "memorised"
    return Runs(final, history, tuple(notes)).only(kept)


@dataclass(frozen=True)
class Cell:
    """Runs that differ by loss, rate and seed alone.

    `decides` is false of a variation: of the table's settings with the same dataset, classes, network and noise another
    one has more runs, as Figure 1's batch of 128 beside a batch of 16. Failed and collapsed runs count: what comes out
    of a run does not make its setting a variation.
    """

    name: str
    facts: dict[str, Any]
    runs: Runs = field(repr=False)
    decides: bool = True

    def loss(self, loss: str) -> Runs:
        """Its runs under one loss."""
        return self.runs.where(loss=loss)

    def rates(self, *losses: str) -> list[float]:
        """The noise rates above 0 at which every named loss was run, ascending."""
        each = [set(self.loss(loss).final.where(rate=_positive)["rate"].tolist()) for loss in losses]
        return sorted(set.intersection(*each)) if each else []


def _positive(rate: Array) -> NDArray[np.bool_]:
    return rate > 0


def name_of(facts: dict[str, Any], varying: Sequence[str]) -> str:
    """A short readable name of a setting: dataset, classes, network, and whatever else differs in the table.

    A fact that it does not have (NaN or "", as the resolution of images that keep their own) is not named.

    >>> name_of({"dataset": "mnist", "resolution": float("nan"), "feature_width": 2.0}, ["resolution", "feature_width"])
    'mnist M=2'
    """
    said = [str(facts["dataset"])] if "dataset" in facts else []
    if facts.get("classes") not in (None, "all"):
        said.append(f"classes {facts['classes']}")
    if "network" in facts:
        said.append(str(facts["network"]))
    letters = {"feature_width": "M", "num_classes": "N"}
    varying = [name for name in varying if facts[name] == facts[name] and facts[name] != ""]
    others = [name for name in varying if name not in ("dataset", "classes", "network")]
    return " ".join([*said, *(f"{letters.get(name, name)}={_short(facts[name])}" for name in others)])


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def cells(runs: Runs, *, apart_from: Sequence[str] = ()) -> Iterator[Cell]:
    """Each setting (runs equal in every fact but loss, alpha, rate, seed, and those of `apart_from`)."""
    names = [name for name in SETTING if name in runs.final and name not in apart_from]
    varying = [name for name in names if len(np.unique(runs.final[name])) > 1]
    for values, group in runs.final.groups(*names):
        facts = dict(zip(names, values, strict=True))
        own = runs.only(np.isin(runs.final["run"], group["run"]))
        yield Cell(name_of(facts, varying), facts, own, not group["_variation"].all())


def _variations(final: Table) -> NDArray[np.bool_]:
    """Which runs belong to a setting that has fewer runs than another with the same `_ALIKE`."""
    smaller = np.zeros(len(final), dtype=bool)
    alike, names = ([name for name in facts if name in final] for facts in (_ALIKE, SETTING))
    at = final.with_column("_row", np.arange(len(final)))
    for _, family in at.groups(*alike):
        settings = [group["_row"] for _, group in family.groups(*names)]
        most = max(len(rows) for rows in settings)
        for rows in settings:
            smaller[rows] = len(rows) < most
    return smaller


def _by_seed(final: Table, column: str) -> dict[int, float]:
    """The mean of the column for each seed (over the rates the rows hold), NaN left out."""
    found: dict[int, float] = {}
    for (seed,), rows in final.groups("seed"):
        values = rows[column].astype(np.float64)
        if np.isfinite(values).any():
            found[int(seed)] = float(np.nanmean(values))
    return found


def _by_seed_and_rate(final: Table, column: str) -> dict[tuple[int, float], float]:
    values = final[column].astype(np.float64)
    keys = zip(final["seed"].tolist(), final["rate"].tolist(), strict=True)
    return {key: float(value) for key, value in zip(keys, values, strict=True) if np.isfinite(value)}


def _trials(final: Table, column: str) -> float:
    """How many samples a share of one run counts; 0 for what is no share of samples."""
    row = final.rows()[0]
    n_train, rho = float(row["n_train"]), float(row["realised_rate"])
    counts = {
        "j1": n_train,
        "j2": n_train,
        "corrupted_as_observed": rho * n_train,
        "corrupted_as_true": rho * n_train,
        "clean_accuracy": (1 - rho) * n_train,
        "test_accuracy": float(row["n_test"]) if "n_test" in final else 0.0,
    }
    return counts.get(column, 0.0)


def estimate(final: Table, column: str) -> Estimate:
    """The mean of a column over seeds (t interval); of one seed, a share over its samples (Wilson)."""
    values = _by_seed(final, column)
    if not values:
        return mean_over_seeds(np.array([]))
    return mean_over_seeds(np.array(list(values.values())), _trials(final, column) if len(values) == 1 else 0.0)


def paired(first: Table, second: Table, column: str) -> Estimate:
    """The mean over seeds of first - second at equal rate (paired t).

    A seed's difference is the mean over the rates it has in both; of one seed, a difference of shares (MOVER).
    """
    a, b = _by_seed_and_rate(first, column), _by_seed_and_rate(second, column)
    common = sorted(a.keys() & b.keys())
    seeds = sorted({seed for seed, _ in common})
    if len(common) == 1 and _trials(first, column):
        seed, rate = common[0]
        return minus(*(estimate(rows.where(seed=seed, rate=rate), column) for rows in (first, second)))
    each = [[a[key] - b[key] for key in common if key[0] == seed] for seed in seeds]
    return mean_over_seeds(np.array([np.mean(differences) for differences in each]))


def gap(final: Table, clean: Table) -> Estimate:
    """LF's resistance gap J2(eta) - J2(0), paired by seed; 0 means that the loss resisted."""
    a, b = _by_seed(final, "j2"), _by_seed(clean, "j2")
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) == 1:
        return minus(*(estimate(rows.where(seed=seeds[0]), "j2") for rows in (final, clean)))
    return mean_over_seeds(np.array([a[seed] - b[seed] for seed in seeds]))


def under_trained(cell: Cell, rate: float) -> str:
    """Empty when cross-entropy reached J1 >= .98 in this setting at this rate, else the premise that was not met."""
    ce = cell.loss("CE").final.where(rate=rate)
    if not len(ce):
        return f"premise not tested: no cross-entropy run at eta {rate:g} in {cell.name}"
    j1 = float(np.mean(ce["j1"]))
    return "" if j1 >= MEMORISED else f"under-trained: CE J1 {j1:.3f} < {MEMORISED} at eta {rate:g} in {cell.name}"
