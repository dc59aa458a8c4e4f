"""One stored run as plain data: its spec, facts, last readings, and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from byrote.analysis.opened import Store
from byrote.store.runs import MANIFEST, is_key, read_manifest

__all__ = ["describe", "find_key"]

_RAW = ("spec", "contents", "bind", "key", "part", "status", "error")


def find_key(keys: Sequence[str], text: str, where: str) -> str:
    """Find the only key that begins with the text.

    Args:
        keys: the keys of the runs.
        text: the first characters of a key, or the whole key.
        where: the name of the folder for the error message.

    Raises:
        ValueError: no key or several keys begin with the text.

    >>> find_key(["0f3a5c9e21b4d6e8", "0f9a1c2e21b4d6e8"], "0f3", "runs/demo")
    '0f3a5c9e21b4d6e8'
    """
    matches = [key for key in keys if key.startswith(text)] if text else []
    if len(matches) != 1:
        many = (
            f"{len(matches)} runs begin with {text!r}: {', '.join(matches[:3])}"
            if matches
            else f"there is no run {text!r}"
        )
        raise ValueError(f"expected the key of one run in {where}, but {many}; `byrote show {where}` lists the keys")
    return matches[0]


def describe(store: Store, text: str) -> dict[str, Any]:
    """Describe one run in a store.

    Args:
        store: `byrote.open(DIR)`.
        text: the run's key, or enough of its first characters to identify it.

    Returns:
        `key`, `part`, `status`, `error`, `spec`, `contents` (the digests of the files and modules named in the spec),
        `facts`, and `epoch` and `readings` of the last evaluated epoch (absent for a failed run). If the store keeps
        the run's own folder, also `files` (name, bytes, SHA-256), `seconds`, `numerics` and `machine`.

    Raises:
        ValueError: no run or more than one run with this key, or a damaged file.
    """
    runs = store.results.runs
    keys = runs["key"].tolist() if len(runs) else []
    row = runs.row(keys.index(find_key(keys, text, str(store.root))))
    about: dict[str, Any] = {name: row[name] for name in ("key", "part", "status", "error")}
    about |= {name: json.loads(row[name]) for name in ("spec", "contents")}
    about["facts"] = {name: value for name, value in row.items() if name not in _RAW}
    return about | _readings(store, row["key"]) | _files(store, row["key"])


def _readings(store: Store, key: str) -> dict[str, Any]:
    """The last row of the run's history, as it is stored."""
    history = store.results.history
    mine = np.flatnonzero(history["key"] == key).tolist() if len(history) else []
    if not mine:
        return {}
    last = history.row(mine[-1])
    return {
        "epoch": last["epoch"],
        "readings": {name: value for name, value in last.items() if name not in ("run", "key", "epoch")},
    }


def _files(store: Store, key: str) -> dict[str, Any]:
    """The files listed in the manifest of the run's folder; empty for compacted results."""
    if not is_key(key) or not (store.root / key / MANIFEST).is_file():
        return {}
    manifest: Mapping[str, Any] = read_manifest(store.root, key)
    sizes = manifest.get("sizes", {})
    files = [
        {"file": str(store.root / key / name), "bytes": sizes.get(name), "sha256": digest}
        for name, digest in manifest["files"].items()
    ]
    return {"files": files, **{name: manifest[name] for name in ("seconds", "numerics", "machine")}}
