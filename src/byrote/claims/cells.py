"""The cells of a claim; a cell has the runs of one setting, by loss and noise rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis, Points, Sample, Setting, mean_over_seeds, paired_difference
from byrote.analysis.labels import dataset_of
from byrote.intervals import wilson_error

__all__ = ["Cell", "Group", "cells", "only"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
_SHARES = {  # the samples among which a share counts: all, the corrupted, the clean, or the test samples
    "j1": "all",
    "j2": "all",
    "corrupted_as_observed": "corrupted",
    "corrupted_as_true": "corrupted",
    "clean_accuracy": "clean",
    "test_accuracy": "test",
}


@dataclass(frozen=True, eq=False)
class Group:
    """Some runs of an analysis, such as those of one setting, loss and rate."""

    analysis: Analysis = field(repr=False)
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> Array:
        """The last reading of a column in each run, (R,)."""
        return self.analysis.last(column)[self.rows]

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [int(seed) for seed in self.analysis.runs["seed"][self.rows]]

    @property
    def rates(self) -> list[float]:
        """The noise rate of each run."""
        return [float(rate) for rate in self.analysis.runs["rate"][self.rows]]

    @property
    def keys(self) -> set[str]:
        """The keys of the runs."""
        return set(self.analysis.runs["key"][self.rows].tolist())

    def where(self, mask: NDArray[np.bool_]) -> Group:
        """The runs for which the mask is true; the mask has one entry per run of the group."""
        return Group(self.analysis, self.rows[mask])

    def noisy(self) -> Group:
        """The runs at a rate above 0."""
        return self.where(np.array(self.rates) > 0)

    def mean(self, column: str) -> Sample:
        """The last reading of a column as a sample with one value per seed."""
        return mean_over_seeds(self[column], self.seeds)

    def value(self, column: str) -> float:
        """The mean of the last reading over seeds; NaN if no run has this reading."""
        return self.mean(column).estimate().value

    def minus(self, other: Group, column: str) -> Sample:
        """The difference of a reading between two groups, paired by seed and rate."""
        return paired_difference(*((one[column], one.seeds, one.rates) for one in (self, other)))

    def points(self, x: str | Array, y: str | Array) -> Points:
        """The points with two readings of each run as coordinates."""
        first, second = (self[one] if isinstance(one, str) else one for one in (x, y))
        return Points.of(first, second, self.seeds, self.rates)

    def samples(self, column: str) -> float:
        """The number of samples among which a share counts, summed over runs; 0 for a reading that is not a share."""
        kind = _SHARES.get(column)
        if kind is None or (kind != "test" and "realised_rate" not in self.analysis.runs):
            return 0.0
        if kind == "test":
            return float(np.sum(self["n_test"]))
        weight = {"all": 1.0, "corrupted": self["realised_rate"] if kind == "corrupted" else 0.0}
        weight["clean"] = 1 - self["realised_rate"] if kind == "clean" else 0.0
        return float(np.sum(self["n_train"] * weight[kind]))

    def share_floor(self, column: str) -> float:
        """A lower bound on the standard error of a mean share: the binomial error over the samples of all runs."""
        trials = self.samples(column)
        share = self.value(column)
        return wilson_error(min(max(share, 0.0), 1.0) * trials, trials) if trials > 0 and share == share else 0.0

    def difference_floor(self, column: str, *others: Group) -> float:
        """A lower bound on the standard error of a difference of shares: one sample of the smaller group."""
        trials = [group.samples(column) for group in (self, *others)]
        return max((1 / count for count in trials if count > 0), default=0.0)


@dataclass(frozen=True, eq=False)
class Cell:
    """The runs of one setting that a claim may use.

    Attributes:
        decides: False for a variation of a main setting. The checks of a variation are shown, but do not decide the
            claim if other cells have checks of the same kind.
    """

    analysis: Analysis = field(repr=False)
    setting: Setting
    rows: Rows = field(repr=False)
    decides: bool

    @property
    def title(self) -> str:
        """The title that distinguishes the setting of the cell from other settings."""
        return self.setting.title

    @property
    def subject(self) -> str:
        """The data set of the cell; a claim gets a separate verdict on each data set."""
        return dataset_of(self.setting.fields)

    @property
    def facts(self) -> dict[str, str]:
        """The cell's data set and network, named as in the table of published values."""
        return {
            "dataset": str(self.setting.fields.get("data.kind")),
            "network": str(self.setting.fields.get("network.kind")),
        }

    @cached_property
    def _by_loss(self) -> dict[str, dict[float, Rows]]:
        rows_of: dict[str, dict[float, list[int]]] = {}
        losses, rates = (self.analysis.runs[name][self.rows] for name in ("loss", "rate"))
        for row, loss, rate in zip(self.rows.tolist(), losses.tolist(), rates.tolist(), strict=True):
            rows_of.setdefault(loss, {}).setdefault(rate, []).append(row)
        return {
            loss: {rate: np.array(rows, dtype=np.intp) for rate, rows in sorted(by_rate.items())}
            for loss, by_rate in rows_of.items()
        }

    @property
    def losses(self) -> list[str]:
        """The losses of the cell's runs, in the order of the study."""
        return list(self._by_loss)

    def rates(self, *losses: str) -> list[float]:
        """The noise rates above 0 at which every named loss was run, in ascending order."""
        each = [{rate for rate in self._by_loss.get(loss, {}) if rate > 0} for loss in losses]
        return sorted(set.intersection(*each)) if each else []

    def at(self, loss: str, *rates: float) -> Group:
        """The runs of one loss at the given rates, or at all rates if none is given."""
        by_rate = self._by_loss.get(loss, {})
        parts = [rows for rate, rows in by_rate.items() if not rates or rate in rates]
        return Group(self.analysis, np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp))

    @property
    def all(self) -> Group:
        """All runs of the cell."""
        return Group(self.analysis, self.rows)

    def where(self, mask: NDArray[np.bool_]) -> Cell:
        """The cell with only the runs for which the mask is true; the mask has one entry per run of the analysis."""
        return Cell(self.analysis, self.setting, self.rows[mask[self.rows]], self.decides)

    def by(self, path: str) -> dict[object, Cell]:
        """Split the cell by the values of a field of the spec, in ascending order, for claims that vary this field."""
        values = self.analysis.field(path)
        rows_by_value: dict[object, list[int]] = {}
        for row in self.rows.tolist():
            rows_by_value.setdefault(values[row], []).append(row)
        number = {value: isinstance(value, (int, float)) for value in rows_by_value}
        ordered = sorted(
            rows_by_value, key=lambda value: (not number[value], value if number[value] else 0, str(value))
        )
        return {
            value: Cell(self.analysis, self.setting, np.array(rows_by_value[value], dtype=np.intp), self.decides)
            for value in ordered
        }


def cells(analysis: Analysis, *, vary: Sequence[str] = ()) -> list[Cell]:
    """The cells of an analysis: its settings with the runs that are finished, not collapsed, and trained from scratch.

    Args:
        analysis: the runs.
        vary: paths of the spec that the claim varies. Settings that differ in nothing else are one cell. If the claim
            varies `start`, cells include the runs that did not start from scratch.
    """
    known = _CELLS_OF.setdefault(analysis, {})
    paths = tuple(vary)
    if paths not in known:
        known[paths] = _cells(analysis, paths)
    return list(known[paths])


_CELLS_OF: WeakKeyDictionary[Analysis, dict[tuple[str, ...], list[Cell]]] = WeakKeyDictionary()


def _cells(analysis: Analysis, vary: tuple[str, ...]) -> list[Cell]:
    usable = ~analysis.collapsed
    if "start" not in vary:
        usable &= np.array([value is None for value in analysis.field("start.kind")], dtype=bool)
    groups = [(setting, setting.runs[usable[setting.runs]]) for setting in analysis.grouped(without=vary)]
    return [Cell(analysis, setting, rows, setting.speaks) for setting, rows in groups if len(rows)]


def only(group: list[Cell], **facts: float | str) -> list[Cell]:
    """The cells whose runs have these values, such as `num_classes=2`; all runs of a cell have the same values."""
    return [
        cell for cell in group if all(cell.analysis.runs[name][cell.rows[0]] == value for name, value in facts.items())
    ]
