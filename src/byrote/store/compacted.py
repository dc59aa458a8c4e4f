"""Compacted tables: `table.parquet`, `runs.parquet`, `features.parquet`, and `about.json`, which has their checksums.

All four files are written under temporary names before the first of them is renamed; `about.json` is renamed last. A
reader that finds files of two versions waits until all files belong to one version. If a process is killed between two
renames, `byrote compact` writes the tables again from the folders of the runs.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from byrote.files import atomic, sha256
from byrote.identity import FORMAT
from byrote.store.facts import Facts
from byrote.store.mirror import discard, refresh
from byrote.store.parquet import Guard, join_parquet, lazy_table, read_parquet, write_parquet
from byrote.store.sealed import read_sealed, sealed
from byrote.table import Table

__all__ = [
    "Compacted",
    "CompactedError",
    "Parts",
    "has_compacted",
    "keys_of_damaged",
    "read_compacted",
    "write_compacted",
]

Parts = list[list[Path]]
Stamp = tuple[int, ...]
T = TypeVar("T")

_TABLE, _RUNS, _FEATURES, _ABOUT = "table.parquet", "runs.parquet", "features.parquet", "about.json"
_PAUSE, _TIMES = 0.3, 20  # seconds until a reader tries again while files change, and the number of its attempts


class CompactedError(ValueError):
    """Compacted tables are damaged, or another process replaced them while they were being read.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, words: str) -> None:
        super().__init__(f"{path} {words}")
        self.path = path


@dataclass(frozen=True)
class Compacted:
    """The compacted tables of a folder, after a check.

    Attributes:
        folder: the folder.
        about: the content of `about.json`.
        runs, history: see `byrote.store.query.Results`.
    """

    folder: Path
    about: dict[str, Any]
    runs: Table
    history: Table

    def feature_files(self) -> Parts:
        """The file of features after a check of its content; empty if there are no features."""
        if _FEATURES not in self.about["files"]:
            return []
        _settled(self.folder, lambda: _verify(self.folder, _FEATURES, self.about))
        return [[self.folder / _FEATURES]]

    def features(self) -> list[Table]:
        """The features as a list with one table, whose columns are read on first use; empty if there are no
        features."""
        if _FEATURES not in self.about["files"]:
            return []
        return [_settled(self.folder, lambda: _lazy(self.folder, _FEATURES, self.about))]


def has_compacted(folder: Path) -> bool:
    """Whether a folder holds compacted tables."""
    return (folder / _TABLE).is_file()


def read_compacted(folder: Path, facts: Facts) -> Compacted:
    """The compacted tables of a folder, all of the same version.

    Raises:
        CompactedError: the tables are damaged.
        ValueError: an older version of byrote wrote them.
    """
    return _settled(folder, lambda: _read(folder, facts))


def _settled(folder: Path, read: Callable[[], T]) -> T:
    """Read the tables; after an error, read them again as long as another process is replacing files."""
    for _ in range(_TIMES):
        before = _stamps(folder)
        try:
            return read()
        except CompactedError:
            time.sleep(_PAUSE)
            refresh(folder)
            if _stamps(folder) == before:
                raise
    return read()


def _read(folder: Path, facts: Facts) -> Compacted:
    about = _about(folder)
    history = _lazy(folder, _TABLE, about)
    runs = Table(_guard(folder, _RUNS, about)(lambda: read_parquet(folder / _RUNS)))
    _check_facts(folder / _RUNS, runs, facts)
    return Compacted(folder, about, runs, history)


def _stamps(folder: Path) -> list[Stamp]:
    return [_stamp(folder / name) for name in (_ABOUT, _RUNS, _TABLE, _FEATURES)]


def _stamp(path: Path) -> Stamp:
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _guard(folder: Path, name: str, about: Mapping[str, Any]) -> Guard:
    """A function that calls another one that reads a file, and refuses the result unless the file is as it was written.

    The file must be the same before and after the reading. Its checksum is computed again only if the file has changed.
    """
    path, checked = folder / name, _stamp(folder / name)
    _verify(folder, name, about)

    def guarded(read: Callable[[], T]) -> T:
        nonlocal checked
        for _ in range(_TIMES):
            stamp = _stamp(path)
            result = read()
            if stamp != checked and sha256(path) != about["files"][name]:
                break
            if _stamp(path) == stamp:
                checked = stamp
                return result
        raise _replaced(folder, name)

    return guarded


def _lazy(folder: Path, name: str, about: Mapping[str, Any]) -> Table:
    """A checked table whose columns are read when they are first used."""
    return lazy_table(folder / name, _guard(folder, name, about))


def _replaced(folder: Path, name: str) -> CompactedError:
    return CompactedError(folder / name, f"was replaced while it was read; open {folder} again")


def _verify(folder: Path, name: str, about: Mapping[str, Any]) -> None:
    """Check that a compacted file has not changed since it was written."""
    path = folder / name
    wanted = about["files"].get(name)
    if not path.is_file() or sha256(path) != wanted:
        if _about(folder) != about:
            raise _replaced(folder, name)
        state = "is missing" if not path.is_file() else "is not the file that byrote wrote (its checksum differs)"
        raise CompactedError(path, f"{state}; restore it, or run `byrote compact` again where the runs are")


def _check_facts(path: Path, runs: Table, facts: Facts) -> None:
    """Check that the facts of compacted runs agree with their specs."""
    for row in runs.rows():
        wrong = facts.wrong(json.loads(row["spec"]), json.loads(row["contents"]), row)
        if wrong:
            raise CompactedError(
                path,
                f"has facts of run {row['key']} that contradict its spec ({wrong}); restore it, or run "
                "`byrote compact` again where the runs are",
            )
    facts.keep()


def _about(folder: Path) -> dict[str, Any]:
    path = folder / _ABOUT
    try:
        about, _ = read_sealed(path)
    except (OSError, ValueError) as error:
        raise CompactedError(
            path, f"is missing or damaged ({error}); restore it, or run `byrote compact` again where the runs are"
        ) from None
    if about.get("format") != FORMAT or not isinstance(about.get("files"), dict):
        raise ValueError(
            f"{folder} has results of format {about.get('format', 1)}, but this version of byrote reads "
            f"format {FORMAT}; "
            "compact the store again with this version, or read the results with the version that wrote them"
        )
    return about


def keys_of_damaged(folder: Path) -> set[str] | None:
    """The keys of the runs in tables that may be damaged; None if they cannot be read."""
    try:
        return set(read_parquet(folder / _RUNS)["key"].tolist())
    except (ValueError, KeyError):
        return None


def write_compacted(
    folder: Path, runs: Table, history: Table, features: Callable[[], Parts], about: Mapping[str, Any]
) -> list[Path]:
    """Write the tables and `about.json`, all of them complete before the first gets its name.

    Args:
        folder: where to write them; created if it is missing.
        runs, history, about: see `Compacted`.
        features: checks and returns the files that hold features.

    Returns:
        The files in the order in which they were renamed.

    Raises:
        byrote.files.WriteError: the disk is full or read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata, checksums = {"format": str(FORMAT), "study": str(about["study"])}, {}
    with ExitStack() as drafts:
        about_draft = drafts.enter_context(atomic(folder / _ABOUT))  # entered first, so renamed last
        for name, table in {_RUNS: runs, _TABLE: history}.items():
            if len(table):
                draft = drafts.enter_context(atomic(folder / name))
                write_parquet(draft, {column: table[column] for column in table.columns}, metadata)
                checksums[name] = sha256(draft)
        parts = features()
        if parts:
            draft = drafts.enter_context(atomic(folder / _FEATURES))
            join_parquet(draft, parts, metadata)
            features()  # the files must not have been replaced while they were read
            checksums[_FEATURES] = sha256(draft)
        about_draft.write_text(sealed({**about, "files": checksums}), "utf-8")
    discard(folder, [folder / name for name in (_RUNS, _TABLE, _FEATURES) if name not in checksums])
    return [folder / name for name in (*reversed(checksums), _ABOUT)]
