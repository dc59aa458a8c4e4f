"""Committing a run: for readers and for other writers, `DIR/<key>/` is either a complete run or absent.

Files are written into a folder with another name (`byrote.store.drafts`); the last is the sealed manifest with the size
and checksum of each file. Then the folder gets its final name in one step. If a process is killed before this step,
there is no folder under the run's key. The files of history and samples contain only results, so equal runs give equal
files; times and facts about the machine are in the manifest. Every file includes the run's key.
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
from byrote.store.mirror import bucket_of, exists, object_of, upload_run
from byrote.store.parquet import write_parquet
from byrote.store.runs import MANIFEST, SPEC, WEIGHTS, DamagedRunError, check_run, read_manifest
from byrote.store.sealed import read_sealed, write_sealed
from byrote.store.verified import flaw_of

if TYPE_CHECKING:
    from byrote.training import Run

__all__ = ["PLAN", "StoreLostError", "commit", "is_committed", "place_run", "present_plan"]

PLAN = "plan.json"
_TIMES_TRIED = 3  # attempts to write a run if another process removes its draft


class StoreLostError(OSError):
    """The store was moved, deleted, or replaced while it was written to."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"the store {root} was moved or deleted while it was written to (its {PLAN} is gone); put it back, or name "
            "the folder where it is now, and start the same command again"
        )


def present_plan(root: Path, every: float = 0.0) -> None:
    """Check that the store is still there; a bucket is checked at most once in `every` seconds.

    Raises:
        StoreLostError: its plan is gone.
    """
    if not exists(root, PLAN, every):
        raise StoreLostError(root)


def is_committed(root: Path, key: str) -> bool:
    """Whether a run is in the store now."""
    bucket = bucket_of(root)
    if bucket is not None:
        return bucket.look(object_of(key)) is not None
    return os.path.exists(f"{root}/{key}/{MANIFEST}")


def place_run(root: Path, key: str, folder: Path) -> bool:
    """Move a finished draft to its place in the store; False if an undamaged run is already there, which is then kept.

    If the stored run's manifest has different facts from the draft, the stored run counts as damaged, because facts
    depend on the spec alone.
    """
    facts = read_sealed(folder / MANIFEST)[0]["facts"]

    def is_whole() -> bool:
        return flaw_of(root, key) is None and read_manifest(root, key)["facts"].items() >= facts.items()

    return upload_run(root, key, folder, is_whole) and publish(folder, root / key, is_whole)


@cache
def machine() -> dict[str, str | int | None]:
    """The facts about this machine that are recorded with a run."""
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
    """Write one run under its key, or leave the folder as it was. If an undamaged run is already there, it is kept.

    Args:
        root: the store.
        run: the trained run.
        numerics: precision, threads and compilation, recorded in the manifest.
        permit: called before anything is written and again just before the run gets its final name; it raises an
            exception if the run must not be committed (see `byrote.store.leases`). None: the run may be committed, and
            the folder `root` is created if it is missing.

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
                if place_run(root, run.key, folder):
                    check_run(root, run.key, manifest, ())
            return target
        except (FileNotFoundError, duckdb.Error, DamagedRunError) as error:  # the draft was removed
            if permit is not None:
                permit()
            if attempt == _TIMES_TRIED or not root.is_dir() or _cannot_write(error):
                line = str(error).splitlines()[0]
                raise OSError(f"run {run.key} could not be written to {root}: {line}") from None
    return target


def _cannot_write(error: Exception) -> bool:
    """Whether an error means that the disk is full or cannot be written to; libraries may have error types of their
    own."""
    return any(os.strerror(code) in str(error) for code in (28, 30, 13, 122))


def _write(folder: Path, run: "Run", numerics: Mapping[str, Any]) -> dict[str, Any]:
    """Write all files of a run into its draft, the manifest last; returns the manifest."""
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
    written = [folder / name for name in sorted(names)]  # not a listing of the folder, where a file may be gone
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
