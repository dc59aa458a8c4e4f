"""Committing a run: `DIR/<key>/` holds one run, whole or not at all, for readers and for other writers.

Files are written into a folder of another name (`byrote.store.drafts`), the sealed manifest with the size and checksum
of each file last; then the folder takes its place in one step. Whatever is killed in between leaves no folder under the
run's key. History and samples hold results only, so equal runs are equal files; times and machine facts go to the
manifest. Every file names the run's key.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from byrote.files import sha256
from byrote.files.atomic import sync
from byrote.identity import FORMAT
from byrote.store.drafts import draft, publish
from byrote.store.parquet import write_parquet
from byrote.store.runs import MANIFEST, SPEC, WEIGHTS, DamagedRunError, check_run
from byrote.store.sealed import write_sealed
from byrote.store.verified import flaw_of

if TYPE_CHECKING:
    from byrote.training import Run

__all__ = ["PLAN", "StoreLostError", "commit", "present_plan"]

PLAN = "plan.json"
_TIMES_TRIED = 3  # to write a run whose files were removed meanwhile


class StoreLostError(OSError):
    """The store was moved, deleted, or replaced while it was written to."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"the store {root} was moved or deleted while it was written to (its {PLAN} is gone); put it back, or name "
            "the folder where it is now, and start the same command again"
        )


def present_plan(root: Path) -> None:
    """The store must be there.

    Raises:
        StoreLostError: its plan is gone.
    """
    if not os.path.isfile(root / PLAN):
        raise StoreLostError(root)


@cache
def machine() -> dict[str, str | int | None]:
    """What a reader needs to know of where a run was made."""
    facts: dict[str, str | int | None] = {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }
    for package in ("byrote", "torch", "numpy"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = getattr(sys.modules.get(package), "__version__", None)
    return facts


def commit(
    root: Path,
    run: "Run",
    numerics: Mapping[str, Any] | None = None,
    permit: Callable[[], None] | None = None,
) -> Path:
    """Write one run under its key, or leave the folder as it was. A run that is there and whole stays.

    Args:
        root: the store.
        run: what was trained.
        numerics: precision, threads and compilation, recorded in the manifest.
        permit: called before anything is written and again just before the run takes its place; it raises where the
            run must not be committed (see `byrote.store.leases`). None: the folder `root` is made where it is missing.

    Raises:
        OSError: the disk is full or read-only, or the store is gone; nothing is left behind under the key.
    """
    target = root / run.key
    if permit is None:
        root.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, _TIMES_TRIED + 1):
        try:
            if permit is not None:
                permit()
            with draft(root, run.key) as folder:
                manifest = _write(folder, run, numerics or {})
                check_run(root, folder.name, manifest | {"key": folder.name}, ())
                if permit is not None:
                    permit()
                if publish(folder, target, lambda: flaw_of(root, run.key) is None):
                    check_run(root, run.key, manifest, ())
            return target
        except (FileNotFoundError, duckdb.Error, DamagedRunError) as error:  # someone removed what was written
            if permit is not None:
                permit()
            if attempt == _TIMES_TRIED or not root.is_dir() or _cannot_write(error):
                line = str(error).splitlines()[0]
                raise OSError(f"run {run.key} could not be written to {root}: {line}") from None
    return target


def _cannot_write(error: Exception) -> bool:
    """Whether a writer with errors of its own says that the disk is full or may not be written to."""
    return any(os.strerror(code) in str(error) for code in (28, 30, 13, 122))


def _write(folder: Path, run: "Run", numerics: Mapping[str, Any]) -> dict[str, Any]:
    """Write all files of a run into its draft, the manifest last; gives the manifest."""
    spec = {"format": FORMAT, "key": run.key, "spec": run.experiment.spec(), "contents": run.experiment.contents}
    write_sealed(folder / SPEC, spec, parents=False)
    names = [SPEC]
    for name, table in (("history", run.history), ("samples", run.samples), ("features", run.features)):
        if len(table):
            write_parquet(folder / f"{name}.parquet", table.arrays(), {"key": run.key})
            sync(folder / f"{name}.parquet")
            names.append(f"{name}.parquet")
    if run.weights:
        from safetensors.numpy import save

        (folder / WEIGHTS).write_bytes(save(dict(run.weights), metadata={"key": run.key}))
        sync(folder / WEIGHTS)
        names.append(WEIGHTS)
    written = [folder / name for name in sorted(names)]  # not what lies there: somebody may have removed a file
    manifest = {
        "format": FORMAT,
        "key": run.key,
        "status": run.status,
        "error": run.error,
        "facts": dict(run.facts),
        "files": {file.name: sha256(file) for file in written},
        "sizes": {file.name: file.stat().st_size for file in written},
        "seconds": dict(run.seconds),
        "numerics": dict(numerics),
        "machine": machine(),
    }
    write_sealed(folder / MANIFEST, manifest, parents=False)
    return manifest
