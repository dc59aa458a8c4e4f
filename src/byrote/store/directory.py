"""The run directory: `DIR/<key>/` holds one run, whole or not at all.

Files are written into a folder of another name, the manifest (with a checksum of each file) last; then the folder is
renamed. Whatever is killed in between leaves no folder under the run's key. History and samples hold results only, so
equal runs are equal files; times and machine facts go to the manifest. Every file names the run's key.
"""

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
from numpy.typing import NDArray

from byrote.files import sha256, write_atomic
from byrote.identity import FORMAT, run_key
from byrote.store.parquet import write_parquet

if TYPE_CHECKING:
    from byrote.training import Run

__all__ = ["WEIGHTS", "commit", "committed", "discard_leftovers", "read_manifest", "read_spec", "read_weights"]

WEIGHTS = "weights.safetensors"
_MANIFEST = "manifest.json"


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


def commit(root: Path, run: "Run", numerics: Mapping[str, Any] | None = None) -> Path:
    """Write one run under its key, or leave the folder as it was.

    Args:
        root: the store.
        run: what was trained.
        numerics: precision, threads and compilation, recorded in the manifest.

    Raises:
        OSError: the disk is full or read-only; nothing is left behind under the key.
    """
    target, draft = root / run.key, root / f".draft-{run.key}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        spec = {"format": FORMAT, "key": run.key, "spec": run.experiment.spec(), "contents": run.experiment.contents}
        write_atomic(draft / "spec.json", _json(spec))
        for name, columns in (("history", run.history), ("samples", run.samples), ("features", run.features)):
            if columns:
                write_parquet(draft / f"{name}.parquet", columns, {"key": run.key})
        if run.weights:
            from safetensors.numpy import save_file

            save_file(dict(run.weights), str(draft / WEIGHTS), metadata={"key": run.key})
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


def read_spec(root: Path, key: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The spec of a committed run, and the digests of the files and modules that it names.

    Raises:
        ValueError: it cannot be read, or it is the spec of another run.
    """
    path = root / key / "spec.json"
    try:
        stored = json.loads(path.read_text("utf-8"))
        spec, contents = stored["spec"], stored["contents"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"run {key} in {root} cannot be read ({error}); delete its folder and run again") from None
    if stored.get("key") != key or run_key(spec, contents) != key:
        raise ValueError(f"{path} is the spec of another run than its folder says; delete the folder and run again")
    return spec, contents


def read_manifest(root: Path, key: str) -> dict[str, Any]:
    """The manifest of a committed run.

    Raises:
        ValueError: it cannot be read, or the folder holds a run of another spec.
    """
    folder = root / key
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"run {key} in {root} cannot be read ({error}); delete its folder and run again") from None
    if not isinstance(manifest, dict) or manifest.get("key") != key:
        raise ValueError(f"{folder} holds the manifest of another run than its name says; delete it and run again")
    read_spec(root, key)
    return manifest


def read_weights(root: Path, key: str) -> dict[str, NDArray[Any]]:
    """The trained weights of a committed run by name.

    Raises:
        ValueError: the run is not there, keeps no weights, or its file is not the one that was written.
    """
    if not _is_key(key) or not (root / key / _MANIFEST).is_file():
        raise ValueError(f"{root} holds no run {key!r}; name a key of its table of runs")
    checksum, path = read_manifest(root, key)["files"].get(WEIGHTS), root / key / WEIGHTS
    if checksum is None:
        raise ValueError(
            f"run {key} in {root} keeps no weights; train it again into another --out with `byrote run --weights`"
        )
    if not path.is_file() or sha256(path) != checksum:
        raise ValueError(f"{path} is missing or damaged (its checksum differs); delete the folder and run again")
    from safetensors.numpy import load_file

    weights: dict[str, NDArray[Any]] = load_file(str(path))
    return weights


def discard_leftovers(root: Path) -> None:
    """Remove drafts of processes that are gone."""
    for entry in root.glob(".draft-*"):
        shutil.rmtree(entry, ignore_errors=True)
