"""The tables of a store, or of a folder of compacted results. Only `byrote.store.facts` may load torch."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.component import did_you_mean
from byrote.identity import FORMAT
from byrote.store.compacted import (
    Compacted,
    CompactedError,
    Parts,
    has_compacted,
    keys_of_damaged,
    read_compacted,
    write_compacted,
)
from byrote.store.directory import PLAN
from byrote.store.facts import Facts
from byrote.store.mirror import located, refresh, share
from byrote.store.parquet import read_many
from byrote.store.plan import Plan, older_versions
from byrote.store.runs import DamagedRunError, committed
from byrote.store.status import not_run
from byrote.store.verified import whole_runs
from byrote.table import Column, Table

__all__ = ["Results", "compact", "is_results", "read_results"]

_HISTORY, _FEATURES = "history.parquet", "features.parquet"


def _none() -> Table:
    return Table({})


@dataclass(frozen=True)
class Results:
    """The tables of a store as they were written; `byrote.analysis.Analysis` prepares them for comparisons.

    Attributes:
        runs: one row per run: key, part, status ("done" or "failed"), error, its spec, the contents of the files and
            modules it names and the fields bound to its loss (each as JSON), and the facts of `training.facts`.
        history: one row per run and evaluated epoch: `run` (the index of the run's row in `runs`), epoch, and the
            readings.
        source: where the tables were read from, for captions.
        about: study, scale, machine, and the runs that were left out, for the top of a report.
        load_features: a function that returns the features of runs with M = 2, see `features`.
        feature_files: a function that returns the files of these features, so that they can be joined without reading
            them into memory.
    """

    runs: Table
    history: Table
    source: str
    about: dict[str, Any]
    load_features: Callable[[], Table] = field(default=_none, repr=False)
    feature_files: Callable[[], Parts] = field(default=list, repr=False)

    @cached_property
    def features(self) -> Table:
        """The final features of runs with M = 2, read on first use: key, split, id, true, observed, x, y."""
        return self.load_features()

    @property
    def partial(self) -> str:
        """How many of the planned runs are in the tables, such as "6 of 108 runs"; empty if all runs are there."""
        planned = int(self.about.get("planned", 0))
        return f"{len(self.runs)} of {planned} runs" if len(self.runs) < planned else ""

    def where(self, mask: NDArray[np.bool_]) -> "Results":
        """The tables of the runs that a mask (R,) selects; the other runs are also removed from the planned runs."""
        place = np.where(mask, np.cumsum(mask) - 1, -1)
        runs, history = self.runs.take(np.flatnonzero(mask)), self.history
        if len(history):
            run = place[history["run"]]
            history = history.with_column("run", run).take(np.flatnonzero(run >= 0))
        keys = runs["key"].tolist()

        def features() -> Table:
            rows = self.features
            return rows.where(np.isin(rows["key"].astype(str), keys)) if len(rows) else rows

        about = {**self.about, "planned": int(self.about.get("planned", 0)) - int(np.sum(~mask))}
        return Results(runs, history, self.source, about, features)

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """The spec of each run by its key, as plain data."""
        return {run["key"]: json.loads(run["spec"]) for run in self.runs.rows()}


def is_results(root: Path) -> bool:
    """Whether a folder is a store or a folder of compacted results."""
    return (root / PLAN).is_file() or has_compacted(root)


def read_results(root: str | Path, facts: Facts | None = None) -> Results:
    """The tables of a store (`byrote run --out`) or of a folder of compacted results (`results/...`).

    Args:
        root: the folder.
        facts: the source of the right facts, to which the stored facts are compared; None: `Facts()`, which loads torch
            if some facts are not in the cache.

    Raises:
        ValueError: the folder is neither of these, a file in it is damaged, or an older version of byrote wrote it.
    """
    folder = located(root)
    if not is_results(folder):
        raise ValueError(f"{folder} is neither a store nor a results folder; name a folder that `byrote run` created")
    plan = Plan.read(folder)
    facts = facts or Facts()
    stored = read_compacted(folder, facts) if has_compacted(folder) else None
    if plan is not None:
        return _planned(folder, plan, stored, facts)
    if stored is None:
        raise ValueError(f"{folder} is neither a store nor a results folder; name a folder that `byrote run` created")
    features = partial(_features, folder, stored, {})
    return Results(stored.runs, stored.history, str(folder), stored.about, features, stored.feature_files)


def _planned(folder: Path, plan: Plan, stored: Compacted | None, facts: Facts) -> Results:
    """The runs of a plan, in its order: from the compacted tables if they exist, otherwise from the folders of the
    runs."""
    compacted = {} if stored is None else {key: row for row, key in enumerate(stored.runs["key"].tolist())}
    present = plan.present({*committed(folder), *compacted})
    entries = [entry for entry in plan.entries if entry.key in present]
    fresh = [present[entry.key] for entry in entries if present[entry.key] not in compacted]
    manifests = _whole(folder, fresh, (_HISTORY,))
    plan.check_keys(folder / PLAN)
    for flaw in facts.flaws((entry, manifests.get(present[entry.key])) for entry in entries).values():
        raise DamagedRunError(folder, flaw)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        key = present[entry.key]
        described = stored.runs.row(compacted[key]) if stored is not None and key in compacted else None
        row = described or _described(manifests[key])
        same = {name: json.dumps(getattr(entry, name), sort_keys=True) for name in ("spec", "contents", "bind")}
        rows.append(row | same | {"key": key, "part": entry.part})
    runs = Table.of(rows)
    places = {row["key"]: place for place, row in enumerate(rows)}
    history = _history(folder, stored, compacted, manifests, places)
    about = _about_plan(folder, plan, present, manifests, {} if stored is None else stored.about)
    files = partial(_feature_files, folder, stored, manifests)
    return Results(runs, history, str(folder), about, partial(_features, folder, stored, manifests), files)


def _described(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The status, error and facts of a run, for its row in the table of runs."""
    return {"status": manifest["status"], "error": manifest["error"], **manifest["facts"]}


def _history(
    folder: Path,
    stored: Compacted | None,
    compacted: Mapping[str, int],
    manifests: Mapping[str, Mapping[str, Any]],
    places: Mapping[str, int],
) -> Table:
    """The history of all runs, sorted by run and epoch."""
    parts = []
    if stored is not None and len(stored.history):
        renumbered = np.array([places.get(key, -1) for key in compacted], dtype=np.int64)[stored.history["run"]]
        if not manifests and np.array_equal(renumbered, stored.history["run"]):
            return stored.history
        parts.append(stored.history.with_column("run", renumbered).where(renumbered >= 0))
    done = [key for key, manifest in manifests.items() if _HISTORY in manifest["files"]]
    done = [key for key in done if manifests[key]["status"] == "done"]
    if done:
        numbers, names = np.array([places[key] for key in done], dtype=np.int64), _objects(done)
        for columns, files in read_many([folder / key / _HISTORY for key in done]):
            parts.append(Table({"run": numbers[files], "key": names[files], **columns}))
    history = Table.concat(parts)
    return history.take(np.lexsort((history["epoch"], history["run"]))) if len(history) else history


def _whole(folder: Path, keys: Iterable[str], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The manifests of runs, after a check that no manifest has changed since it was written."""
    manifests, flaws = whole_runs(folder, keys, names)
    for flaw in flaws.values():
        raise DamagedRunError(folder, flaw)
    return manifests


def _runs_with_features(folder: Path, manifests: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """The files of features in the folders of runs, after a check."""
    keys = [key for key, manifest in manifests.items() if _FEATURES in manifest["files"]]
    return [folder / key / _FEATURES for key in _whole(folder, keys, (_FEATURES,))]


def _feature_files(folder: Path, stored: Compacted | None, manifests: Mapping[str, Mapping[str, Any]]) -> Parts:
    """The files of features, after a check: first the compacted file, then the files of the runs."""
    own = _runs_with_features(folder, manifests)
    return [*([] if stored is None else stored.feature_files()), *([own] if own else [])]


def _features(folder: Path, stored: Compacted | None, manifests: Mapping[str, Mapping[str, Any]]) -> Table:
    """The features of all runs: first the compacted features, then the features in the folders of runs."""
    tables = [] if stored is None else stored.features()
    paths = _runs_with_features(folder, manifests)
    if paths:
        keys = _objects([path.parent.name for path in paths])
        tables += [Table({"key": keys[places], **columns}) for columns, places in read_many(paths)]
    return tables[0] if len(tables) == 1 else Table.concat(tables)


def _about_plan(
    folder: Path,
    plan: Plan,
    present: Mapping[str, str],
    manifests: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    seconds = float(before.get("seconds", 0.0))
    for manifest in manifests.values():
        time = manifest["seconds"]
        seconds += time.get("cohort", 0.0) / max(time.get("cohort_size", 1.0), 1.0)
    machines = [manifest["machine"] for manifest in manifests.values()] or [before.get("machine", {})]
    return {
        "format": FORMAT,
        "study": plan.study,
        "file": plan.file,
        "scale": plan.scale,
        "overrides": plan.overrides,
        "imports": list(plan.imports),
        "accepted": {name: list(digests) for name, digests in plan.accepted.items()},
        "planned": len(plan.entries),
        "not_run": not_run(folder, plan, present),
        "older_versions": {version: len(keys) for version, keys in older_versions(folder, plan).items()},
        "seconds": round(seconds, 2),
        "machine": machines[0],
        "files": {},
    }


def compact(root: str | Path, out: str | Path | None = None, *, part: str = "") -> Path:
    """Write the tables of a store as `table.parquet`, `runs.parquet`, `features.parquet`, and `about.json`.

    Specs, contents, and errors about missing data contain paths. In these paths the home folder is written as `~`,
    because the tables are meant to be shared.

    Args:
        root: the store.
        out: the folder to write into; None: the store itself.
        part: only the runs of this part of the study; empty: all. A part cannot be written into the store itself.

    Raises:
        ValueError: `root` is not a store, or the part does not exist.
        byrote.files.WriteError: the disk is full or read-only.

    Damaged tables in a store are written again from the folders of its runs, if no run would be lost.
    """
    if part and (out is None or Path(out).resolve() == Path(root).resolve()):
        raise ValueError(f"`part={part!r}` needs `out=` with a folder other than the store {root}")
    root = located(root)
    refresh(root)
    results = _of_part(root, part) if part else _undamaged(root)
    folder = located(out) if out is not None else root
    runs = results.runs
    for name in ("spec", "contents", "error") if len(runs) else ():
        runs = runs.with_column(name, _objects([_without_home(text) for text in runs[name].tolist()]))
    about = json.loads(_without_home(json.dumps(results.about)))
    share(folder, *write_compacted(folder, runs, results.history, results.feature_files, about))
    return folder


def _undamaged(root: Path) -> Results:
    """The tables of a store; if its compacted tables are damaged, they are made from the folders of its runs.

    Raises:
        CompactedError: the compacted tables are damaged, and they may contain runs that have no folder.
    """
    try:
        results = read_results(root)
        results.feature_files()
        return results
    except CompactedError as error:
        plan = Plan.read(root)
        if plan is None:
            raise
        results = _planned(root, plan, None, Facts())
        keys, count = keys_of_damaged(root), len(results.runs)
        planned = len(plan.entries) - len(results.about["not_run"])
        if count < planned and (keys is None or not keys <= set(results.runs["key"].tolist())):
            raise CompactedError(
                error.path,
                f"is damaged, and only {count} of {planned} runs have a folder from which the tables could be written "
                f"again; restore this file, or delete {root / 'table.parquet'} to give up the other runs",
            ) from None
        return results


def _of_part(root: Path, part: str) -> Results:
    """The tables of the runs of one part, from their own folders."""
    plan = Plan.read(root)
    parts = list(dict.fromkeys(entry.part for entry in plan.entries)) if plan is not None else []
    if plan is None or part not in parts:
        raise ValueError(f"{root} is a store without a part {part!r}; {did_you_mean(part, parts)}")
    entries = tuple(one for one in plan.entries if one.part == part)
    results = _planned(root, replace(plan, entries=entries), None, Facts())
    return replace(results, about=results.about | {"part": part})


def _without_home(text: str) -> str:
    """JSON text in which paths in the home folder begin with `~`."""
    home = Path.home()
    if str(home) == home.anchor:
        return text
    return re.sub(re.escape(json.dumps(str(home))[1:-1]) + r"(?![\w.-])", "~", text)


def _objects(values: Sequence[Any]) -> Column:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
