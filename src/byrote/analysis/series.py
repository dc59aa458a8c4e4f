"""What figures and the report share: which runs to show for each data set, their order, and means over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from byrote.analysis.labels import PAPERS
from byrote.analysis.lines import LineFit, fit_line
from byrote.analysis.runs import Analysis, Setting
from byrote.intervals import student

__all__ = [
    "DATA",
    "NETWORK",
    "Selection",
    "fit_lines",
    "in_order",
    "losses_of",
    "one_each",
    "rated",
    "reference_rate",
    "runs_text",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Row = dict[str, Any]
DATA = ("data.kind", "data.path", "data.classes")
NETWORK = (*DATA, "network.kind")


def in_order(losses: Iterable[str]) -> list[str]:
    """The distinct losses in a fixed order: the losses of the papers first, then the others by name.

    >>> in_order(["RLL", "GCE", "CE", "RLL"])
    ['CE', 'RLL', 'GCE']
    """
    place = {name: number for number, name in enumerate(PAPERS)}
    return sorted(set(losses), key=lambda loss: (place.get(loss, len(place)), loss))


@dataclass(frozen=True, eq=False)
class Selection:
    """Finished runs of one setting, all or some.

    Attributes:
        analysis: the analysis that the runs belong to.
        setting: the setting of the runs.
        runs: (R,), the positions of the runs in `analysis.runs`.
        labels: (R,), the name of the plotted line to which each run belongs: its loss, unless a figure needs finer
            names.
    """

    analysis: Analysis = field(repr=False)
    setting: Setting
    runs: NDArray[np.intp]
    labels: NDArray[Any] = field(repr=False)

    @classmethod
    def of(cls, analysis: Analysis, setting: Setting) -> Selection:
        """All finished runs of a setting."""
        return cls(analysis, setting, setting.runs, analysis.runs["loss"][setting.runs])

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def title(self) -> str:
        """The title of the setting."""
        return self.setting.title

    @cached_property
    def losses(self) -> list[str]:
        """The names of the plotted lines, in the fixed order of `in_order`."""
        return in_order(self.labels.tolist())

    @cached_property
    def rates(self) -> list[float]:
        """The nominal noise rates, ascending."""
        return [float(rate) for rate in np.unique(self.rate[np.isfinite(self.rate)])]

    @property
    def rate(self) -> Array:
        """The nominal noise rate of each run, (R,)."""
        return self.last("rate")

    @property
    def seeds(self) -> Codes:
        """The seed of each run, (R,)."""
        return np.asarray(self.analysis.runs["seed"][self.runs], dtype=np.int64)

    def last(self, column: str) -> Array:
        """The last value of a reading, or a fact, of each run, (R,); NaN for a column that the tables do not have."""
        if column not in self.analysis.runs:
            return np.full(len(self), np.nan)
        return self.analysis.last(column)[self.runs]

    def text(self, column: str) -> NDArray[Any]:
        """A fact of each run as a string, (R,); empty if the tables do not have the fact."""
        if column not in self.analysis.runs or self.analysis.runs[column].dtype.kind != "O":
            return np.full(len(self), "", dtype=object)
        return np.asarray(self.analysis.runs[column][self.runs])

    def field(self, path: str) -> NDArray[Any]:
        """A field of the spec of each run by its dotted path, (R,); None where a run does not have the field."""
        return np.asarray(self.analysis.field(path)[self.runs])

    @property
    def collapsed(self) -> NDArray[np.bool_]:
        """Which runs end with class means that coincide, (R,)."""
        return np.asarray(self.analysis.collapsed[self.runs])

    def where(self, mask: NDArray[np.bool_]) -> Selection:
        """Select runs by a mask (R,)."""
        return Selection(self.analysis, self.setting, self.runs[mask], self.labels[mask])

    def of_losses(self, *losses: str) -> Selection:
        """The runs on these lines."""
        return self.where(np.isin(self.labels.astype(str), losses))

    def at_rate(self, *rates: float) -> Selection:
        """The runs at these nominal rates."""
        return self.where(np.isin(self.rate, rates))

    def means(
        self,
        by: Sequence[str],
        columns: Sequence[str] = (),
        more: Mapping[str, Array] = MappingProxyType({}),
        within: tuple[float, float] | None = None,
    ) -> list[Row]:
        """Means over seeds at the end of training; see `_means`.

        Args:
            by: the columns whose values define a cell: "loss" for the plotted lines, "rate", or a fact.
            columns: the readings that are averaged.
            more: further columns to average by name, one number per run, (R,).
            within: the range that an interval is cut to: (0, 1) for shares.
        """
        return _means(self._each(by), {name: self.last(name) for name in columns} | dict(more), within)

    @cached_property
    def epochs(self) -> NDArray[np.int64]:
        """The evaluated epochs, ascending."""
        return np.unique(self._history("epoch")).astype(np.int64)

    def curves(
        self,
        by: Sequence[str],
        columns: Sequence[str],
        within: tuple[float, float] | None = None,
        most: int = 50,
    ) -> list[Row]:
        """Means over seeds by epoch; see `_means`. At most `most` epochs are kept, including the first and the last."""
        chosen = thinned(self.epochs, most)
        at = self._history("epoch")
        shown = np.isin(at, chosen)
        held = {name: (values, codes[self._run][shown]) for name, (values, codes) in self._each(by).items()}
        epochs: tuple[list[Any], Codes] = (chosen.tolist(), np.searchsorted(chosen, at[shown]))
        readings = {name: self._history(name)[shown].astype(np.float64) for name in columns}
        return _means({**held, "epoch": epochs}, readings, within)

    def _each(self, by: Sequence[str]) -> dict[str, tuple[list[Any], Codes]]:
        return {name: self._coded(name) for name in by}

    def _coded(self, name: str) -> tuple[list[Any], Codes]:
        """The distinct values of a column in order, and for each run the number of its value, (R,)."""
        if name == "loss":
            place = {loss: number for number, loss in enumerate(self.losses)}
            return list(self.losses), np.array([place[loss] for loss in self.labels.tolist()], dtype=np.int64)
        values = self.analysis.runs[name][self.runs]
        distinct, codes = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
        return distinct.tolist(), codes.astype(np.int64)

    @cached_property
    def _spans(self) -> list[slice]:
        return [self.analysis.epochs(run) for run in self.runs.tolist()]

    @cached_property
    def _rows(self) -> NDArray[np.intp]:
        """The rows of these runs in the history."""
        parts = [np.arange(span.start, span.stop) for span in self._spans]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    @cached_property
    def _run(self) -> NDArray[np.intp]:
        """For each of these history rows, the position of its run in `runs`."""
        return np.repeat(np.arange(len(self)), [span.stop - span.start for span in self._spans])

    def _history(self, column: str) -> NDArray[Any]:
        if column not in self.analysis.history:
            return np.full(len(self._rows), np.nan)
        return np.asarray(self.analysis.history[column][self._rows])


def rated(analysis: Analysis) -> list[Selection]:
    """The runs of every setting with a nominal noise rate, largest settings first.

    Runs on recorded labels have no nominal rate, so they are left out of a grid of rates.
    """
    every = [Selection.of(analysis, setting) for setting in analysis.settings]
    known = [one.where(np.isfinite(one.rate)) for one in every]
    return sorted((one for one in known if len(one)), key=lambda one: -len(one))


def one_each(
    selections: Iterable[Selection], by: Sequence[str], among: Callable[[Selection], object] = lambda one: True
) -> list[Selection]:
    """For each combination of some fields, choose the setting that a figure shows; largest settings first.

    The choice is the main setting of a family (`Setting.speaks`) if it has something to show, and otherwise the
    variation with the most runs. If there are main settings with different noise laws, the choice is the main setting
    with the most runs; in a tie, it is the setting with the most common law.

    Args:
        selections: the runs of each setting.
        by: fields by dotted path, such as `DATA`.
        among: True for the settings that have something to show.
    """
    possible = [one for one in selections if among(one)]
    law: Counter[str] = Counter()
    for one in possible:
        law[str(one.setting.fields.get("noise.kind"))] += len(one)

    def rank(one: Selection) -> tuple[bool, int, int]:
        return not one.setting.speaks, -len(one), -law[str(one.setting.fields.get("noise.kind"))]

    best: dict[str, Selection] = {}
    for one in sorted(possible, key=rank):
        best.setdefault(repr([one.setting.fields.get(path) for path in by]), one)
    return sorted(best.values(), key=lambda one: -len(one))


def losses_of(selections: Iterable[Selection]) -> list[str]:
    """The names of the plotted lines of several settings together, in the fixed order of `in_order`."""
    return in_order(loss for one in selections for loss in one.losses)


def reference_rate(one: Selection) -> float:
    """The rate above 0 with the most losses; in a tie, the rate nearest to .2."""
    rates = [rate for rate in one.rates if rate > 0]
    return max(rates, key=lambda rate: (len(one.at_rate(rate).losses), -abs(rate - 0.2)))


def thinned(epochs: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Choose at most `most` evenly spaced epochs among the measured epochs, including the first and the last.

    >>> thinned(np.arange(1, 11), 4)
    array([ 1,  4,  7, 10])
    """
    if len(epochs) <= most:
        return epochs
    chosen: NDArray[np.int64] = epochs[np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))]
    return chosen


def runs_text(shown: Sequence[Selection], nc1: bool = False, by: Sequence[str] = ("loss", "rate")) -> str:
    """Caption text with the number of runs of each setting, and the number of seeds per cell (loss and rate).

    Args:
        shown: the settings in the figure.
        nc1: whether the figure shows NC1, which is undefined for a collapsed run (class means coincide). If so, the
            text gives the number of collapsed runs.
        by: the columns that make a cell.
    """
    parts = [f"{_runs([one], by)} of {one.title}" for one in shown] if 1 < len(shown) <= 3 else []
    text = f"n: {'; '.join(parts) or _runs(shown, by)}"
    collapsed = sum(int(one.collapsed.sum()) for one in shown) if nc1 else 0
    left = f"; left out: {collapsed} collapsed run{'s' * (collapsed != 1)}, without NC1" if collapsed else ""
    return f"{text}{left}."


def _runs(shown: Sequence[Selection], by: Sequence[str]) -> str:
    cells = [count for one in shown for count in np.unique(_cell(one._each(by)), return_counts=True)[1].tolist()]
    low, high = min(cells, default=0), max(cells, default=0)
    seeds = f"{high} seed{'s' * (high != 1)}" if low == high else f"{low} to {high} seeds"
    return f"{sum(map(len, shown))} runs ({seeds} per cell)"


def _cell(by: Mapping[str, tuple[list[Any], Codes]]) -> Codes:
    """Map each combination of values to one integer, in ascending order of the combinations."""
    cell: Codes = np.zeros(1, dtype=np.int64)
    for values, codes in by.values():
        cell = cell * len(values) + codes
    return cell


def _means(
    by: Mapping[str, tuple[list[Any], Codes]], columns: Mapping[str, Array], within: tuple[float, float] | None
) -> list[Row]:
    """One row per combination of values: for each column, the mean over runs, its 95% interval, and the run count.

    A column NAME becomes NAME, NAME_low, NAME_high, and NAME_n; None where no run has a finite value. With a single
    finite value there is no interval. Then both ends equal the mean, so that a plotted band has width 0.

    Args:
        by: for each name, the distinct values, and the number of the value of each entry.
        columns: for each name, one number per entry.
        within: the range that an interval is cut to: (0, 1) for shares.
    """
    cells, first, cell = np.unique(_cell(by), return_index=True, return_inverse=True)
    rows: list[Row] = [{name: values[codes[at]] for name, (values, codes) in by.items()} for at in first.tolist()]
    for name, numbers in columns.items():
        mean, low, high, n = _spread(numbers, cell, len(cells))
        if within is not None:
            low, high = np.maximum(low, within[0]), np.minimum(high, within[1])
        ends = zip(rows, mean.tolist(), low.tolist(), high.tolist(), n.tolist(), strict=True)
        for row, middle, under, over, count in ends:
            known = {name: middle, f"{name}_low": under, f"{name}_high": over} if count else {}
            row |= dict.fromkeys((name, f"{name}_low", f"{name}_high")) | known | {f"{name}_n": count}
    return rows


def _spread(numbers: Array, cell: Codes, count: int) -> tuple[Array, Array, Array, Codes]:
    """Mean, interval ends and number of finite values in each cell; cells of equal size are computed together."""
    known = np.isfinite(numbers)
    order = np.argsort(cell[known], kind="stable")
    values = numbers[known][order]
    n = np.bincount(cell[known], minlength=count)
    start = np.cumsum(n) - n
    mean, low, high = (np.full(count, np.nan) for _ in range(3))
    for size in np.unique(n[n > 0]).tolist():
        cells = np.flatnonzero(n == size)
        sample = values[start[cells][:, None] + np.arange(size)]
        mean[cells] = sample.mean(-1)
        low[cells], high[cells] = student(sample) if size > 1 else (mean[cells], mean[cells])
    return mean, low, high, n


def fit_lines(one: Selection, x: ArrayLike, y: ArrayLike) -> dict[str, LineFit]:
    """The least-squares line of each loss over its runs, if at least three runs have both x and y and x varies.

    Args:
        one: the runs.
        x, y: one number per run, (R,).
    """
    lines = {}
    for loss in one.losses:
        mine = one.labels == loss
        line = fit_line(np.asarray(x, dtype=np.float64)[mine], np.asarray(y, dtype=np.float64)[mine])
        if line.count >= 3 and np.isfinite(line.slope):
            lines[loss] = line
    return lines
