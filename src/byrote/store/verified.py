"""Find the undamaged runs of a store: each file is checked once, and the result is kept until the file changes.

For each run, `DIR/.verified.json` contains the manifest and the time, size and inode of every file whose checksum was
right. With it, even a store of ten thousand runs can be opened by listing its folders, without reading the files.
`byrote verify` ignores these results and reads every byte.
"""

import json
import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from byrote.store.runs import MANIFEST, SPEC, DamagedRunError, Flaw, check_file, check_sizes, read_manifest
from byrote.store.sealed import read_sealed, write_sealed_line
from byrote.store.uncollected import uncollected

__all__ = ["flaw_of", "forget", "whole_runs"]

Stamp = list[int]
_MEMORY = ".verified.json"
_SETTLED = 2.0  # seconds: a file that changed more recently may change again without a new time
_WORTH = 64  # save after at least this many newly checked files; a small store is fast without it


def whole_runs(
    root: Path, keys: Iterable[str], names: Collection[str] | None = None, *, believed: bool = True
) -> tuple[dict[str, dict[str, Any]], dict[str, Flaw]]:
    """The manifests of the undamaged runs, and what is wrong with the other runs, by key.

    Every file must exist and must not be truncated; the manifest and the spec are always read and checked. With
    `names=()`, only the manifest is checked.

    Args:
        root: the store.
        keys: the runs to look at.
        names: the files whose checksums are checked besides manifest and spec, such as files to be read next. None: all
            files; `()`: no file but the manifest.
        believed: whether to rely on earlier checks; False: read every file again.
    """
    memory = _Memory(root, believed)
    manifests: dict[str, dict[str, Any]] = {}
    flaws: dict[str, Flaw] = {}
    for key in keys:
        try:
            manifests[key] = memory.look(key, names)
        except DamagedRunError as error:
            flaws[key] = error.flaw
    memory.save()
    return manifests, flaws


def flaw_of(root: Path, key: str, names: Collection[str] | None = None) -> Flaw | None:
    """Read the files of one run again, and return what is wrong with it; None if it is undamaged. See `whole_runs`."""
    try:
        _Memory(root, believed=False).look(key, names)
    except DamagedRunError as error:
        return error.flaw
    return None


def forget(root: Path) -> None:
    """Delete the results of earlier checks, if the store can be written to."""
    with suppress(OSError):
        (root / _MEMORY).unlink()


class _Memory:
    """The files of a store that were checked before; entries of files that have changed since are ignored."""

    def __init__(self, root: Path, believed: bool = True) -> None:
        self._root, self._path = root, root / _MEMORY
        self._known: dict[str, tuple[dict[str, Stamp], dict[str, Any]]] = {}
        self._new = 0
        self._now = time.time()
        if believed:
            with suppress(OSError, ValueError, KeyError, TypeError, IndexError):  # an unreadable file is made again
                stored = read_sealed(self._path)[0]
                machines = [json.loads(text) for text in stored["machines"]]
                with uncollected():
                    for key, (stamps, manifest, machine) in stored["runs"].items():
                        self._known[key] = stamps, manifest | {"machine": machines[machine]}

    def look(self, key: str, names: Collection[str] | None) -> dict[str, Any]:
        """The manifest of a run, after a check of its files.

        Raises:
            DamagedRunError: the run is damaged.
        """
        stamps = self._stamps(key, names)
        known, manifest = self._known.get(key, ({}, {}))
        if names == () and known.get(MANIFEST) == stamps[MANIFEST]:
            return manifest
        checked = {name for name, stamp in known.items() if stamps.get(name) == stamp}
        fresh = MANIFEST not in checked
        if fresh:
            manifest, checked = read_manifest(self._root, key), set()
        if names == ():
            wanted: list[str] = []
        else:
            check_sizes(self._root, manifest, {name: stamp[2] for name, stamp in stamps.items()})
            wanted = [name for name in manifest["files"] if names is None or name in names or name == SPEC]
        unread = [name for name in wanted if name not in checked]
        for name in unread:
            check_file(self._root, manifest, name)
        if fresh or unread:
            self._remember(key, manifest, {name: stamps[name] for name in (*checked, *unread, MANIFEST)})
        return manifest

    def _stamps(self, key: str, names: Collection[str] | None) -> dict[str, Stamp]:
        """Times, size, and inode of each file of a run, or of its manifest alone if no other file is checked."""
        stamps: dict[str, Stamp] = {}
        try:
            if names == ():
                state = os.stat(f"{self._root}/{key}/{MANIFEST}")
                return {MANIFEST: [state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino]}
            with os.scandir(f"{self._root}/{key}") as entries:
                for entry in entries:
                    state = entry.stat()
                    stamps[entry.name] = [state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino]
        except OSError as error:
            file = MANIFEST if names == () else ""
            raise DamagedRunError(self._root, Flaw(key, "torn", file, f"cannot be read ({error.strerror})")) from None
        return stamps

    def _remember(self, key: str, manifest: dict[str, Any], stamps: dict[str, Stamp]) -> None:
        settled = {n: s for n, s in stamps.items() if self._now - max(s[0], s[1]) / 1e9 > _SETTLED}
        if MANIFEST in settled:
            self._new += len(settled)
            before = self._known.get(key, ({}, {}))[0]
            unchanged = {} if before.get(MANIFEST) != settled[MANIFEST] else before
            self._known[key] = unchanged | settled, manifest

    def save(self) -> None:
        """Save which files were checked, if enough of them are new and the store can be written to."""
        if self._new < _WORTH:
            return
        with suppress(OSError):
            machines: dict[str, int] = {}
            runs = {}
            for key, (stamps, manifest) in self._known.items():
                number = machines.setdefault(json.dumps(manifest["machine"]), len(machines))
                runs[key] = stamps, {name: value for name, value in manifest.items() if name != "machine"}, number
            write_sealed_line(self._path, {"machines": list(machines), "runs": runs})
