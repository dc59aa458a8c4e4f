"""Read and check one stored run: `DIR/<key>/` must contain exactly what byrote wrote for that key.

The manifest is sealed and lists every other file with its size and SHA-256. One of these files is `spec.json`, from
which the key follows. So a file that is truncated, altered, or exchanged with a file of another run is noticed.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from byrote.files import sha256
from byrote.identity import FORMAT, run_key
from byrote.store.parquet import metadata_of
from byrote.store.sealed import read_sealed

__all__ = [
    "MANIFEST",
    "SPEC",
    "WEIGHTS",
    "DamagedRunError",
    "Flaw",
    "check_file",
    "check_run",
    "check_sizes",
    "committed",
    "facts_flaw",
    "is_key",
    "read_manifest",
    "read_spec",
    "read_weights",
]

MANIFEST, SPEC, WEIGHTS = "manifest.json", "spec.json", "weights.safetensors"
_FOOTER = 1 << 16  # bytes at the end of a Parquet file that are searched first for its metadata
_UNSEALED = {"format", "key", "status", "error", "facts", "files", "seconds", "numerics", "machine"}


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a stored run.

    Attributes:
        key: the run, by the name of its folder.
        kind: "torn" (a file is missing or truncated), "altered", "swapped" (a file belongs to another run), "missing"
            (the run is in the plan but not in the store), or "foreign" (the run is in the store but not in the plan).
        file: the file; empty if the flaw concerns the run as a whole.
        words: the predicate of a sentence about the file, such as "is truncated (3 of 8 bytes)".
    """

    key: str
    kind: str
    file: str
    words: str

    def sentence(self, root: Path) -> str:
        """One sentence with the run, the file, and what to do."""
        path = root / self.key / self.file if self.file else root / self.key
        cure = "the same `byrote run` command trains it again"
        if self.kind == "foreign":
            cure = "`byrote prune` with `foreign=` removes it"
        return f"run {self.key} is {self.kind}: {path} {self.words}; {cure}"


def facts_flaw(key: str, wrong: str) -> Flaw:
    """The flaw of a manifest that has facts contradicting the run's spec; `wrong` lists these facts."""
    return Flaw(key, "altered", MANIFEST, f"has facts that contradict its spec ({wrong})")


class DamagedRunError(ValueError):
    """A stored run is not as byrote wrote it."""

    def __init__(self, root: Path, flaw: Flaw) -> None:
        super().__init__(flaw.sentence(root))
        self.flaw = flaw


def committed(root: Path) -> list[str]:
    """Keys of the runs whose folder has a manifest, sorted; `whole_runs` checks whether they are undamaged."""
    try:
        with os.scandir(root) as entries:
            keys = [entry.name for entry in entries if is_key(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(key for key in keys if os.path.isfile(f"{root}/{key}/{MANIFEST}"))


def is_key(name: str) -> bool:
    """Whether a name can be the key of a run."""
    return len(name) == 16 and all(c in "0123456789abcdef" for c in name)


def _damaged(root: Path, key: str, kind: str, file: str, words: str) -> DamagedRunError:
    return DamagedRunError(root, Flaw(key, kind, file, words))


def read_manifest(root: Path, key: str) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        DamagedRunError: it cannot be read, has changed since it was written, or belongs to another run.
    """
    path = root / key / MANIFEST
    try:
        manifest, is_sealed = read_sealed(path)
    except FileNotFoundError:
        raise _damaged(root, key, "torn", MANIFEST, "is missing") from None
    except (OSError, ValueError) as error:
        words = str(error).removeprefix(f"{path} ")
        raise _damaged(root, key, "altered", MANIFEST, words) from None
    if manifest.get("format") != FORMAT:
        words = f"has format {manifest.get('format')}, but this version of byrote reads format {FORMAT}"
        raise _damaged(root, key, "altered", MANIFEST, words)
    if manifest.get("key") != key:
        raise _damaged(root, key, "swapped", MANIFEST, f"belongs to run {manifest.get('key')}")
    files = manifest.get("files")
    if not isinstance(files, dict) or SPEC not in files or not (is_sealed or manifest.keys() == _UNSEALED):
        raise _damaged(root, key, "altered", MANIFEST, "does not contain what byrote writes")
    return manifest


def read_spec(root: Path, key: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The spec of a run, and the digests of the files and modules that it names.

    Raises:
        DamagedRunError: it cannot be read, or it is the spec of another run.
    """
    try:
        stored, _ = read_sealed(root / key / SPEC)
        spec, contents = stored["spec"], stored["contents"]
        named = run_key(spec, contents)
    except FileNotFoundError:
        raise _damaged(root, key, "torn", SPEC, "is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(root, key, "altered", SPEC, f"cannot be read ({error})") from None
    if stored.get("key") != key or named != key:
        raise _damaged(root, key, "swapped", SPEC, f"is the spec of run {named}")
    return spec, contents


def check_sizes(root: Path, manifest: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Check that every file in the manifest exists and is not shorter than it was when written.

    Raises:
        DamagedRunError: a file is missing or truncated.
    """
    written = manifest.get("sizes", {})
    for name in manifest["files"]:
        if name not in sizes:
            raise _damaged(root, manifest["key"], "torn", name, "is missing")
        if sizes[name] < written.get(name, 1):
            other = _named_in(root / manifest["key"] / name)
            if other not in ("", manifest["key"]):
                raise _damaged(root, manifest["key"], "swapped", name, f"belongs to run {other}")
            words = f"is truncated ({sizes[name]} of {written.get(name, 'more')} bytes)"
            raise _damaged(root, manifest["key"], "torn", name, words)


def check_file(root: Path, manifest: Mapping[str, Any], name: str) -> None:
    """Check that a file has the checksum in the manifest, and that the key follows from the spec.

    Raises:
        DamagedRunError: the checksum or the key differs.
    """
    key, path = str(manifest["key"]), root / str(manifest["key"]) / name
    try:
        right = sha256(path) == manifest["files"][name]
    except OSError as error:
        raise _damaged(root, key, "torn", name, f"cannot be read ({error.strerror})") from None
    if name == SPEC:
        read_spec(root, key)
    if not right:
        other = _named_in(path)
        if other not in ("", key):
            raise _damaged(root, key, "swapped", name, f"belongs to run {other}")
        raise _damaged(root, key, "altered", name, "is not as byrote wrote it (its checksum differs)")
    if path.suffix == ".parquet" and not _ends_with(path, key):
        try:
            other = metadata_of(path).get("key", "")
        except ValueError as error:
            raise _damaged(root, key, "altered", name, str(error)) from None
        if other != key:
            raise _damaged(root, key, "swapped", name, f"belongs to run {other}" if other else "names no run")


def _ends_with(path: Path, key: str) -> bool:
    """Whether the last bytes of a Parquet file contain a key; the metadata are there, so no parser is needed."""
    with path.open("rb") as file:
        file.seek(-min(os.path.getsize(path), _FOOTER), os.SEEK_END)
        return key.encode() in file.read()


def _named_in(path: Path) -> str:
    """The run that is named in the metadata of a Parquet file; empty if there is none."""
    try:
        return metadata_of(path).get("key", "") if path.suffix == ".parquet" else ""
    except ValueError:
        return ""


def read_weights(root: Path, key: str) -> dict[str, NDArray[Any]]:
    """The trained weights of a run by name.

    Raises:
        ValueError: the run does not exist or has no stored weights, or the file has changed since it was written.
    """
    if not is_key(key) or not (root / key / MANIFEST).is_file():
        raise ValueError(f"{root} has no run {key!r}; use a key from its table of runs")
    manifest = read_manifest(root, key)
    if WEIGHTS not in manifest["files"]:
        raise ValueError(
            f"the weights of run {key} in {root} were not kept; train it again into another `out=` with `keep_weights=`"
        )
    check_run(root, key, manifest, (SPEC, WEIGHTS))
    from safetensors.numpy import load_file

    weights: dict[str, NDArray[Any]] = load_file(str(root / key / WEIGHTS))
    return weights


def check_run(root: Path, key: str, manifest: Mapping[str, Any], names: Iterable[str]) -> None:
    """Check that all files of a run exist, and that the named files have not changed since they were written.

    Raises:
        DamagedRunError: a file is missing, or has changed since it was written.
    """
    try:
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(root / key)}
    except OSError as error:
        raise _damaged(root, key, "torn", "", f"cannot be read ({error.strerror})") from None
    check_sizes(root, manifest, sizes)
    for name in names:
        check_file(root, manifest, name)
