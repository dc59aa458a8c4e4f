"""Make the runs of a store comparable: find their settings, the main settings, and the collapsed runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.analysis.collapsed import RELATIVE, coincident
from byrote.analysis.labels import loss_names, titles
from byrote.analysis.specs import ABSENT, Specs, under
from byrote.given import AGREEMENT, FIELD, GIVEN, TRUE_LABELS
from byrote.store import Results
from byrote.table import Table

__all__ = ["Analysis", "Setting"]

Rows = NDArray[np.intp]
Array = NDArray[np.float64]
_FAMILY = ("data.kind", "data.classes", "network.kind", "noise.kind")


@dataclass(frozen=True)
class Setting:
    """Runs whose specs are equal apart from loss, rate and seeds.

    Attributes:
        digest: identifies the setting across stores.
        title: a name that no other setting of the table has.
        fields: the fields of the setting by dotted path.
        runs: the positions of the setting's finished runs in `Analysis.runs`.
        speaks: whether this is the main setting of its family. A family has the same kind of data, classes, network,
            and noise law. Its main setting has the most runs, including failed and collapsed runs; in a tie, the main
            setting is the setting that the study lists first. The other settings of the family are variations.
    """

    digest: str
    title: str
    fields: Mapping[str, Any]
    runs: Rows = field(repr=False)
    speaks: bool = True


class Analysis:
    """The runs of a store, prepared for claims, figures and reports.

    Args:
        results: the tables of a store.

    Raises:
        ValueError: two runs of equal setting, loss, rate, and seeds.

    Attributes:
        results: the tables of the store.
        runs: one row per finished run: key, part, dataset, network, noise, loss (a name that distinguishes variants of
            a loss), rate, seed, the facts of the run, and its last readings.
        history: one row per finished run and evaluated epoch: `run` (the row of `runs`), epoch, and the readings.
            If the true labels of a run are unknown and only given labels exist (`byrote.given`), the columns that
            depend on true labels are NaN. In these runs `given_agreement` and `test_given_agreement` measure how often
            predictions agree with the given labels.
        failed: the number of failed runs.
        given: which finished runs have only given labels, (R,).
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        specs = Specs.of(results.runs) if len(results.runs) else Specs({}, {}, {}, 0)
        self._specs = specs
        self._fields: dict[str, NDArray[Any]] = {}
        setting = specs.setting()
        _check_unique(results.runs, specs, setting)
        done = np.flatnonzero(results.runs["status"] == "done") if len(results.runs) else np.zeros(0, dtype=np.intp)
        self._origin: Rows = done  # the positions of the finished runs among all runs
        self.failed = len(results.runs) - len(done)
        self._all_settings = setting
        self.given = np.array([specs.at(FIELD, int(place)) == GIVEN for place in done], dtype=bool)
        history, self._starts, self._stops = _history(results, done)
        self.history = self._without_truth(self._marked(history))
        self.runs = self._described()

    @classmethod
    def of(cls, results: Results) -> Analysis:
        """Analyze the tables of a store."""
        return cls(results)

    def _marked(self, history: Table) -> Table:
        """The history with a column `collapsed`, and with NaN for readings that are undefined in collapsed runs."""
        if not all(name in history for name in ("class_distance", "collapsed")):
            return history
        peers = [self._all_settings[self._origin], self._specs.loss_setting[self._origin]]

        @cache
        def gone() -> NDArray[np.bool_]:
            distance = np.asarray(history["class_distance"], dtype=np.float64)
            return coincident(distance, history["run"], self._stops - 1, peers)

        def without(name: str) -> Array:
            return np.where(gone(), np.nan, np.asarray(history[name], dtype=np.float64))

        marked = {name: partial(without, name) for name in RELATIVE if name in history}
        return history.with_lazy({**marked, "collapsed": lambda: history["collapsed"].astype(bool) | gone()})

    def _without_truth(self, history: Table) -> Table:
        """The history, with NaN in columns that depend on true labels for runs that have only given labels."""
        if not self.given.any():
            return history
        rows = self.given[history["run"]]

        def only(name: str, where: NDArray[np.bool_]) -> Array:
            return np.where(where, np.asarray(history[name], dtype=np.float64), np.nan)

        hidden = {name: partial(only, name, ~rows) for name in TRUE_LABELS if name in history}
        shown = {name: partial(only, reading, rows) for name, reading in AGREEMENT.items() if reading in history}
        return history.with_lazy({**hidden, **shown})

    @cached_property
    def known(self) -> Analysis:
        """The runs with known true labels: the input of claims and figures about true labels."""
        if not self.given.any():
            return self
        column = np.array([value != GIVEN for value in self._specs.column(FIELD)], dtype=bool)
        return Analysis(self.results.where(column))

    def _described(self) -> Table:
        specs, done = self._specs, self._origin
        described = self.results.runs.take(done)
        facts = {name: partial(described.__getitem__, name) for name in described.columns if name not in _RAW}
        last = self._stops - 1
        readings = {
            name: partial(_at, self.history, name, last) for name in self.history.columns if name not in ("run", "key")
        }
        text = {name: partial(self._text, path) for name, path in _TEXTS.items()}
        numbers = {
            "setting": lambda: self._all_settings[done],
            "loss_setting": lambda: specs.loss_setting[done],
            "loss": lambda: np.array([self.loss_names[code] for code in specs.loss_setting[done]], dtype=object),
            "rate": lambda: specs.rate[done],
            "seed": lambda: specs.replicate[done],
        }
        return Table.lazy({**facts, **text, **numbers, **readings}, len(done))

    def _text(self, path: str) -> NDArray[Any]:
        values = self._specs.column(path)
        return np.array([_word(path, values[place]) for place in self._origin], dtype=object)

    @cached_property
    def loss_names(self) -> list[str]:
        """The names of the loss settings, indexed by the number of the loss setting."""
        codes = self._specs.loss_setting
        _, first, counts = np.unique(codes, return_index=True, return_counts=True)
        short = self.results.runs["loss"]
        losses = [(str(short[place]), self._specs.loss_fields(int(place))) for place in first]
        settings = [set(self._all_settings[codes == code].tolist()) for code in range(len(first))]
        return loss_names(losses, counts.tolist(), settings)

    @cached_property
    def settings(self) -> list[Setting]:
        """Every setting with a finished run, in the order of the study."""
        return self.grouped()

    def grouped(self, *, without: Sequence[str] = ()) -> list[Setting]:
        """The settings when some paths are ignored, such as the paths that a claim varies.

        Args:
            without: the ignored paths; everything below them is ignored, too.

        Returns:
            One setting for each group of runs whose specs are equal apart from loss, rate, seeds and the ignored paths.
        """
        codes = self._specs.setting(without)
        _, first, counts = np.unique(codes, return_index=True, return_counts=True)
        fields = [self._without(self._specs.fields(int(place)), without) for place in first]
        names = titles(fields, counts.tolist())
        speaks = self._speaking(first, counts, without)
        mine = codes[self._origin]
        groups = [np.flatnonzero(mine == code) for code in range(len(first))]
        return [
            Setting(self._specs.setting_digest(int(place)), name, own, rows, bool(main))
            for place, name, own, rows, main in zip(first, names, fields, groups, speaks, strict=True)
            if len(rows)
        ]

    @staticmethod
    def _without(fields: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
        return {path: value for path, value in fields.items() if not under(path, paths)}

    def _speaking(self, first: Rows, counts: NDArray[np.intp], without: Sequence[str]) -> list[bool]:
        """Which settings are the main settings of their families."""
        paths = [path for path in _FAMILY if not under(path, without)]
        family = [tuple(_kind(path, self._specs.at(path, int(place))) for path in paths) for place in first]
        best: dict[tuple[str, ...], int] = {}
        for place in sorted(range(len(first)), key=lambda place: (-int(counts[place]), int(first[place]))):
            best.setdefault(family[place], place)
        return [best[family[place]] == place for place in range(len(first))]

    def table(self) -> Table:
        """One row for each finished run and evaluated epoch: the readings, and the columns that distinguish the runs.

        The table has the columns of `runs` and `history` and also `setting` (a digest), `setting_title` and
        `loss_setting` (a digest). Each field of the specs that differs among the finished runs is a column, named by
        its dotted path.
        """
        run = self.history["run"]
        place: dict[int, Setting] = {int(at): setting for setting in self.settings for at in setting.runs}
        described = {
            "setting": [place[at].digest for at in range(len(self.runs))],
            "setting_title": [place[at].title for at in range(len(self.runs))],
            "loss_setting": [self._specs.loss_digest(int(origin)) for origin in self._origin],
        }
        facts = {name: self.runs[name] for name in self.runs.columns if name not in self.history} | described
        differing = {
            path: self.field(path)
            for path, codes in self._specs.codes.items()
            if path not in _SHOWN and len(set(codes[self._origin].tolist())) > 1
        }
        columns = {name: np.asarray(_plain(values))[run] for name, values in {**facts, **differing}.items()}
        return Table(columns | {name: self.history[name] for name in self.history.columns if name != "run"})

    def field(self, path: str) -> NDArray[Any]:
        """A field of the spec of each finished run; None where a run does not have the field."""
        if path not in self._fields:
            self._fields[path] = self._field(path)
        return self._fields[path]

    def _field(self, path: str) -> NDArray[Any]:
        values = self._specs.column(path)
        column = np.empty(len(self._origin), dtype=object)
        column[:] = [None if values[place] == ABSENT else values[place] for place in self._origin]
        return column

    def epochs(self, run: int) -> slice:
        """The rows of one run in `history`."""
        return slice(int(self._starts[run]), int(self._stops[run]))

    def last(self, column: str) -> Array:
        """The last value of a column in each finished run as float64, (R,)."""
        return np.asarray(self.runs[column], dtype=np.float64)

    def need(self, *columns: str) -> list[str]:
        """Which of the named columns are neither in `runs` nor in `history`."""
        return [name for name in columns if name not in self.runs]

    @cached_property
    def collapsed(self) -> NDArray[np.bool_]:
        """Which finished runs end with class means that coincide, (R,); see `byrote.analysis.collapsed`."""
        if "collapsed" not in self.runs:
            return np.zeros(len(self.runs), dtype=bool)
        return np.asarray(self.runs["collapsed"], dtype=bool)

    def named(self, losses: Iterable[str]) -> NDArray[np.bool_]:
        """Which finished runs have a loss with one of these names, (R,)."""
        return np.isin(self.runs["loss"].astype(str), list(losses))


_RAW = ("spec", "contents", "bind", "status", "error", "loss")
_TEXTS = {"dataset": "data.kind", "classes": "data.classes", "network": "network.kind", "noise": "noise.kind"}


_SHOWN = ("data.kind", "data.classes", "network.kind", "noise.kind", "noise.rate", "seed")


def _plain(values: Any) -> NDArray[Any]:
    """Values as an array; an array of strings if they are not all numbers."""
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in listed):
        if any(value is None for value in listed):
            return np.array([np.nan if value is None else float(value) for value in listed])
        return np.array(listed)
    column = np.empty(len(listed), dtype=object)
    column[:] = [value if isinstance(value, str) else "" if value is None else str(value) for value in listed]
    return column


def _word(path: str, value: Any) -> str:
    if path == "data.classes":
        return "all" if value in (None, ABSENT) else ",".join(map(str, value))
    return "" if value == ABSENT else str(value)


def _kind(path: str, value: Any) -> str:
    """The kind used to compare families: all user-defined kinds are treated as one kind."""
    return "own" if path != "data.classes" and ":" in str(value) else str(value)


def _at(history: Table, name: str, rows: Rows) -> NDArray[Any]:
    values: NDArray[Any] = history[name][rows]
    values.setflags(write=False)
    return values


def _history(results: Results, done: Rows) -> tuple[Table, Rows, Rows]:
    """The rows of finished runs, renumbered and with coincident class means marked, and the range of each run's rows.

    Raises:
        ValueError: a finished run without a row.
    """
    stored = results.history
    run = stored["run"] if len(stored) else np.zeros(0, dtype=np.int64)
    starts, stops = np.searchsorted(run, done, "left"), np.searchsorted(run, done, "right")
    empty = np.flatnonzero(starts == stops)
    if len(empty):
        key = results.runs["key"][done[empty[0]]]
        raise ValueError(f"run {key} of {results.source} is done but has no history; `byrote run` trains it again")
    rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, stops, strict=True)]) if len(done) else run[:0]
    history = stored if len(rows) == len(stored) else stored.take(rows)
    lengths = stops - starts
    ends = np.cumsum(lengths)
    history = history.with_column("run", np.repeat(np.arange(len(done)), lengths))
    return history, ends - lengths, ends


def _check_unique(runs: Table, specs: Specs, setting: NDArray[np.int64]) -> None:
    if not len(runs):
        return
    rates = np.unique(np.nan_to_num(specs.rate, nan=-1.0), return_inverse=True)[1]
    same = np.stack([setting, specs.loss_setting, rates, specs.replicate], axis=1)
    _, first, inverse = np.unique(same, axis=0, return_index=True, return_inverse=True)
    twice = np.flatnonzero(first[inverse] != np.arange(len(same)))
    if len(twice):
        one, other = runs["key"][first[inverse[twice[0]]]], runs["key"][twice[0]]
        raise ValueError(
            f"runs {one} and {other} have the same setting, loss, rate, and seeds, so that their seeds would count "
            "twice; remove one run from the tables"
        )
