"""Reading a store, or a folder of compacted results, as tables. Never loads torch."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from byrote.files import atomic, write_atomic
from byrote.store.directory import committed, read_manifest, read_parquet, write_parquet
from byrote.store.plan import Plan, not_run
from byrote.store.table import Column, Table

__all__ = ["Results", "Store", "open_store"]

_TABLE, _FEATURES, _ABOUT = "table.parquet", "features.parquet", "about.json"


@dataclass(frozen=True)
class Results:
    """Everything claims and figures may see.

    Attributes:
        history: one row a run and evaluated epoch; the run's facts stand beside the readings.
        features: the last features of runs with M = 2 (key, split, id, true, observed, x, y).
        source: where the tables were read from, for captions.
        about: study, scale, every run's spec, failures, machine: what a report says of the whole.
    """

    history: Table
    features: Table
    source: str
    about: dict[str, Any]


class Store:
    """A folder of runs (`byrote run --out`) or of compacted results (`results/...`), opened for reading.

    Args:
        root: the folder.

    Raises:
        ValueError: the folder is neither, or a file in it is damaged.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.plan = Plan.read(self.root)
        if self.plan is None and not (self.root / _TABLE).is_file():
            raise ValueError(f"{self.root} is neither a store nor a results folder; name what `byrote run --out` made")

    @cached_property
    def results(self) -> Results:
        """The tables of all runs that are done."""
        parts = [self._compacted(_TABLE)] if (self.root / _TABLE).is_file() else []
        features = [self._compacted(_FEATURES)] if (self.root / _FEATURES).is_file() else []
        known = set(parts[0]["key"]) if parts else set()
        about = self._about()
        if self.plan is not None:
            keys = [key for key in committed(self.root) if key in self.plan.parts]
            fresh = [key for key in keys if key not in known]
            manifests = {key: read_manifest(self.root, key) for key in fresh}
            parts += self._history(manifests)
            features += self._features(manifests)
            about = self._about_plan(about, manifests)
        history = Table.concat(parts)
        if len(history):
            history = history.take(np.lexsort((history["epoch"], history["key"].astype(str))))
        return Results(history, Table.concat(features), str(self.root), about)

    def history(self) -> duckdb.DuckDBPyRelation:
        """The history as a DuckDB relation: `.df()`, `.filter(...)`, `.aggregate(...)`.

        >>> import byrote
        >>> byrote.open("runs/demo").history().filter("loss = 'CE'").df()  # doctest: +SKIP
        """
        columns = {name: self.results.history[name] for name in self.results.history.columns}
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.register("history", columns)
        return self._connection.sql("SELECT * FROM history")

    def samples(self, key: str) -> Table:
        """The outcome of every training sample of one run: id, true, observed, learned_epoch, margin."""
        path = self.root / key / "samples.parquet"
        if not path.is_file():
            raise ValueError(f"{self.root} keeps no samples of run {key!r}; compacted results leave them out")
        return Table(read_parquet(path))

    def compact(self, out: str | Path | None = None) -> Path:
        """Write all tables as `table.parquet`, `features.parquet` and `about.json` into `out` (default: the store).

        What was tried for data that could not be had names folders; the home folder is written as `~`, since these
        files are there to be shared.
        """
        folder = Path(out) if out is not None else self.root
        folder.mkdir(parents=True, exist_ok=True)
        results = self.results
        for name, table in ((_TABLE, results.history), (_FEATURES, results.features)):
            if len(table):
                with atomic(folder / name) as draft:
                    write_parquet(draft, {column: table[column] for column in table.columns})
        about = json.dumps(results.about, indent=1, sort_keys=True) + "\n"
        home = json.dumps(str(Path.home()))[1:-1]
        write_atomic(folder / _ABOUT, about if home == Path.home().anchor else about.replace(home, "~"))
        return folder

    def _compacted(self, name: str) -> Table:
        return Table(read_parquet(self.root / name))

    def _about(self) -> dict[str, Any]:
        try:
            about = json.loads((self.root / _ABOUT).read_text("utf-8"))
        except OSError:
            return {}
        except ValueError as error:
            raise ValueError(f"{self.root / _ABOUT} is damaged: {error}") from None
        return about if isinstance(about, dict) else {}

    def _about_plan(self, about: dict[str, Any], manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
        plan = self.plan
        if plan is None:
            return about
        failures = {f["key"]: f for f in about.get("failures", [])}
        seconds = float(about.get("seconds", 0.0))
        for key, manifest in manifests.items():
            time = manifest["seconds"]
            seconds += time.get("cohort", 0.0) / max(time.get("cohort_size", 1.0), 1.0)
            if manifest["status"] == "failed":
                failures[key] = {"key": key, "part": plan.parts[key], "error": manifest["error"], **manifest["facts"]}
        machines = [m["machine"] for m in manifests.values()] or [about.get("machine", {})]
        return {
            "study": plan.study,
            "scale": plan.scale,
            "overrides": plan.overrides,
            "imports": list(plan.imports),
            "planned": len(plan.entries),
            "specs": {entry.key: entry.spec for entry in plan.entries},
            "failures": list(failures.values()),
            "not_run": not_run(self.root, plan, committed(self.root)),
            "seconds": round(seconds, 2),
            "machine": machines[0],
        }

    def _history(self, manifests: dict[str, dict[str, Any]]) -> list[Table]:
        plan = self.plan
        done = [key for key, manifest in manifests.items() if manifest["status"] == "done"]
        if plan is None or not done:
            return []
        columns = read_parquet([self.root / key / "history.parquet" for key in done])
        keys = _keys_of(columns.pop("filename"))
        columns["train_loss"] = columns.pop("loss")
        facts: dict[str, Column] = {"key": keys, "study": _objects([plan.study] * len(keys))}
        facts["part"] = _objects([plan.parts[key] for key in keys])
        names = dict.fromkeys(name for key in done for name in manifests[key]["facts"])
        for name in names:
            facts[name] = _fact([manifests[key]["facts"].get(name) for key in keys])
        facts["status"] = _objects(["done"] * len(keys))
        facts["error"] = _objects([""] * len(keys))
        return [Table({**facts, **columns})]

    def _features(self, manifests: dict[str, dict[str, Any]]) -> list[Table]:
        paths = [self.root / key / _FEATURES for key, m in manifests.items() if _FEATURES in m["files"]]
        if not paths:
            return []
        columns = read_parquet(paths)
        keys = _keys_of(columns.pop("filename"))
        return [Table({"key": keys, **columns})]


def _keys_of(files: Column) -> Column:
    folders = {file: os.path.basename(os.path.dirname(file)) for file in set(files.tolist())}
    return _objects([folders[file] for file in files.tolist()])


def _objects(values: list[Any]) -> Column:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _fact(values: list[Any]) -> Column:
    """A column of a fact: numbers as numbers (absent ones NaN), text as objects."""
    if any(isinstance(value, str) for value in values):
        return _objects(["" if value is None else value for value in values])
    if any(value is None for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(values)


def open_store(root: str | Path) -> Store:
    """Open a store or a results folder for reading; see `Store`."""
    return Store(root)
