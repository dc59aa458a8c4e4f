"""The run directory: `DIR/<key>/` holds one run, whole or not at all.

Files are written into a folder of another name, the manifest (with a checksum of each file) last; then the folder is
renamed. Whatever is killed in between leaves no folder under the run's key. History and samples hold results only, so
equal runs are equal files; times and machine facts go to the manifest.
"""

import glob
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from byrote.component import digest
from byrote.files import sha256, write_atomic

if TYPE_CHECKING:
    from byrote.training import Run

__all__ = ["FORMAT", "commit", "committed", "discard_leftovers", "read_manifest", "read_parquet", "write_parquet"]

FORMAT = 1
_MANIFEST = "manifest.json"


def write_parquet(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write equally long columns as one Parquet file; the same columns give the same bytes."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        connection.register("columns", dict(columns))
        target = str(path).replace("'", "''")
        connection.execute(f"COPY (SELECT * FROM columns) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    finally:
        connection.close()


def read_parquet(paths: Path | list[Path]) -> dict[str, NDArray[Any]]:
    """Columns of one Parquet file, or of several one after another (then with a `filename` column).

    Raises:
        ValueError: a file that is not readable Parquet (names it).
    """
    files = [glob.escape(str(p)) for p in (paths if isinstance(paths, list) else [paths])]
    named = ", filename = true" if isinstance(paths, list) else ""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        found = connection.execute(
            f"SELECT * FROM read_parquet($files, union_by_name = true{named})", {"files": files}
        ).fetchnumpy()
    except duckdb.Error as error:
        line = str(error).splitlines()[0]
        raise ValueError(
            f"a result file is missing or damaged: {line}; delete that run's folder and run again"
        ) from None
    finally:
        connection.close()
    return {name: _plain(column) for name, column in found.items()}


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """Masked values as NaN (numbers) or None (text), as a plain array."""
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    values, hidden = np.ma.getdata(column), np.ma.getmaskarray(column)
    if not hidden.any():
        return np.asarray(values)
    if values.dtype.kind in "iuf":
        return np.where(hidden, np.nan, values.astype(np.float64))
    text = values.astype(object)
    text[hidden] = None
    return text


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
    root: Path, run: "Run", numerics: Mapping[str, Any] | None = None, sources: Mapping[str, str] | None = None
) -> Path:
    """Write one run under its key, or leave the folder as it was.

    Args:
        root: the store.
        run: what was trained.
        numerics: precision, threads and compilation, recorded in the manifest.
        sources: checksum by name of the user's modules that took part.

    Raises:
        OSError: the disk is full or read-only; nothing is left behind under the key.
    """
    target, draft = root / run.key, root / f".draft-{run.key}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        write_atomic(draft / "spec.json", _json(run.experiment.spec()))
        for name, columns in (("history", run.history), ("samples", run.samples), ("features", run.features)):
            if columns:
                write_parquet(draft / f"{name}.parquet", columns)
        if run.weights:
            from safetensors.numpy import save_file

            save_file(dict(run.weights), str(draft / "weights.safetensors"))
        for file in draft.iterdir():
            _sync(file)
        manifest = {
            "format": FORMAT,
            "key": run.key,
            "status": run.status,
            "error": run.error,
            "facts": dict(run.facts),
            "files": {file.name: sha256(file) for file in sorted(draft.iterdir())},
            "seconds": dict(run.seconds),
            "numerics": dict(numerics or {}),
            "sources": dict(sources or {}),
            "machine": machine(),
        }
        write_atomic(draft / _MANIFEST, _json(manifest))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(draft, target)
    except duckdb.Error as error:
        raise OSError(f"run {run.key} could not be written to {root}: {str(error).splitlines()[0]}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _sync(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def committed(root: Path) -> list[str]:
    """Keys of the runs that are whole, sorted."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        keys = [entry.name for entry in entries if _is_key(entry.name)]
    return sorted(key for key in keys if (root / key / _MANIFEST).is_file())


def _is_key(name: str) -> bool:
    return len(name) == 16 and all(c in "0123456789abcdef" for c in name)


def read_manifest(root: Path, key: str) -> dict[str, Any]:
    """The manifest of a committed run.

    Raises:
        ValueError: it cannot be read, or the folder holds a run of another spec.
    """
    folder = root / key
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text("utf-8"))
        spec = json.loads((folder / "spec.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"run {key} in {root} cannot be read ({error}); delete its folder and run again") from None
    if manifest.get("key") != key or digest({"format": manifest.get("format"), **spec}) != key:
        raise ValueError(f"{folder} was made by a different spec than its name says; delete it and run again")
    return manifest


def discard_leftovers(root: Path) -> None:
    """Remove drafts of processes that are gone."""
    for entry in root.glob(".draft-*"):
        shutil.rmtree(entry, ignore_errors=True)
