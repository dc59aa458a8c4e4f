"""Recorded labels: noisy labels saved in a file, so that others can train on exactly the same labels.

The file (CSV or Parquet, by its suffix) has the columns `id`, `true` and `observed` and one row per sample, in the
order of the ids. The manifest `<file>.json` in the same folder has the SHA-256 of the content, which is the same for
both formats.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import duckdb
import torch
from pydantic import Field

from byrote import checks, inputs
from byrote.files import DataUnavailableError, atomic, cache_folder, write_atomic
from byrote.noise.base import Noise, Samples
from byrote.noise.cells import integer_columns
from byrote.noise.realised import realised

__all__ = ["NoisyLabels", "Recorded", "load_labels", "save_labels"]

_SUFFIXES = (".csv", ".parquet")
_CACHE = "cache:"  # prefix of a path that is relative to the cache folder
_WRITERS = {".csv": "(FORMAT csv, HEADER)", ".parquet": "(FORMAT parquet)"}


@dataclass(frozen=True)
class NoisyLabels:
    """The content of a file of noisy labels, in the order of the ids.

    Attributes:
        ids: stable sample ids, int64 (n,) without repetition.
        true, observed: labels, at least 0, int64 (n,).
    """

    ids: torch.Tensor
    true: torch.Tensor
    observed: torch.Tensor

    @property
    def sha256(self) -> str:
        """SHA-256 of the ids, true labels and observed labels, in this order, as little-endian 64-bit integers."""
        content = torch.stack([self.ids, self.true, self.observed]).numpy()
        return hashlib.sha256(content.astype("<i8").tobytes()).hexdigest()


def save_labels(
    path: str | Path,
    ids: torch.Tensor,
    true: torch.Tensor,
    observed: torch.Tensor,
    *,
    num_classes: int,
    num_outputs: int | None = None,
    noise: Noise | None = None,
) -> str:
    """Write noisy labels to a file and a manifest in the same folder, each completely or not at all.

    Args:
        path: ends in .csv or .parquet; the manifest is `path` with .json appended.
        ids: the stable ids of the samples, integers (n,) without repetition.
        true, observed: labels in 0..N-1 (observed: 0..num_outputs-1), integers (n,).
        num_classes: N.
        num_outputs: the number of possible observed labels, if more than N.
        noise: the model from which the labels were drawn, for the manifest.

    Returns:
        The SHA-256 of the content, for `load_labels(..., sha256=...)` and `Recorded(..., sha256=...)`.

    Raises:
        ValueError, TypeError: an unknown suffix, labels out of range, a repeated id, or different lengths.
        WriteError: the disk is full or read-only; existing files are unchanged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> key = save_labels(path, torch.tensor([7, 3]), torch.tensor([0, 1]), torch.tensor([1, 1]), num_classes=2)
        >>> print(path.read_text().strip())
        id,true,observed
        3,1,1
        7,0,1
        >>> load_labels(path, sha256=key).observed
        tensor([1, 1])
    """
    path = inputs.expanded(path)
    writer = _WRITERS[_suffix(path)]
    given = {"ids": ids, "true labels": true, "observed labels": observed}
    ids, true, observed = (checks.integers(name, column).detach().cpu() for name, column in given.items())
    for name, column in (("ids", ids), ("true labels", true), ("observed labels", observed)):
        checks.one_axis(name, column)
    checks.same_length(ids=ids, true=true, observed=observed)
    realization = realised(true, observed, num_classes, num_outputs)
    labels = _labels(path, ids, true, observed)
    manifest = {
        "sha256": labels.sha256,
        "rows": realization.total,
        "num_classes": num_classes,
        "num_outputs": realization.counts.shape[1],
        "corrupted": realization.corrupted,
        "realised_rate": None if math.isnan(realization.rate) else realization.rate,
        "noise": None if noise is None else noise.spec(),
    }
    stored = {"id": labels.ids.numpy(), "true": labels.true.numpy(), "observed": labels.observed.numpy()}
    with atomic(path) as temporary, duckdb.connect() as connection:
        connection.register("labels", stored)
        connection.execute(f"COPY labels TO ? {writer}", [str(temporary)])
    write_atomic(_manifest(path), json.dumps(manifest, indent=2) + "\n")
    return labels.sha256


def load_labels(path: str | Path, *, true: str = "true", observed: str = "observed", sha256: str = "") -> NoisyLabels:
    """Read a file of noisy labels.

    Args:
        path: a .csv (with a header) or .parquet file with an `id` column.
        true, observed: the names of the two label columns, for files with different column names.
        sha256: the expected hash of the content; by default the hash in the manifest, if there is a manifest.

    Returns:
        The labels in the order of their ids.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown suffix, a path that is not a plain file, unreadable content, a missing column, labels
        that are negative or not integers, a repeated id, or a hash that differs from `sha256` or the manifest.
    """
    path = inputs.expanded(path)
    try:
        inputs.plain_file(path, "a file of noisy labels")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file of noisy labels at {inputs.shown(path)}") from None
    _suffix(path)
    labels = _labels(path, *integer_columns(path, ("id", true, observed)))
    for wanted, origin in ((sha256, "you asked for"), (_manifest_hash(path, true, observed), "its manifest says")):
        if wanted and wanted != labels.sha256:
            raise ValueError(
                f"{path} holds different labels: {origin} sha256 {wanted}, but its content has {labels.sha256}"
            )
    return labels


class Recorded(Noise):
    """Observed labels read from a file and matched by sample id: human labels, or noise that was drawn elsewhere.

    The law is unknown, so there is no nominal rate and no transition matrix. The effective rate is the share of wrong
    labels in the whole file. `corrupt` needs `ids`, uses no random numbers, and raises an error if the true labels in
    the file differ from the labels of the data set.

    Args:
        path: a .csv or .parquet file with the columns `id`, `true_column` and `observed_column`. "cache:NAME" is the
            file NAME in this machine's cache folder, so that a run has the same spec on every machine. For example,
            `byrote data get cifar10n` writes "cache:cifar10n/worst.csv".
        true_column, observed_column: the names of the label columns.
        sha256: the hash of the content, which fixes the labels in the spec. Empty: any content (the hash in the
            manifest is still checked).
    """

    path: str = Field(min_length=1)
    true_column: str = "true"
    observed_column: str = "observed"
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")

    @property
    def file(self) -> Path:
        """The path of the file on this machine."""
        inside = self.path.removeprefix(_CACHE)
        return inputs.expanded(self.path) if inside == self.path else cache_folder() / inside

    def content(self) -> str:
        """The digest of the labels, a part of the name of a run; equal labels in both formats have equal digests.

        The digest is empty for "cache:NAME", a file that `byrote data get` writes. So a run has the same name on every
        machine, even if the file is missing.

        Raises:
            FileNotFoundError, ValueError: see `load_labels`.
        """
        return "" if self.path.startswith(_CACHE) else _content(self, inputs.stamp([self.file]))

    def load(self) -> NoisyLabels:
        """Read the content of the file; see `load_labels`.

        Raises:
            DataUnavailableError: the file NAME of "cache:NAME" is not in the cache folder.
            FileNotFoundError, ValueError: see `load_labels`.
        """
        self._check_cache()
        return load_labels(self.file, true=self.true_column, observed=self.observed_column, sha256=self.sha256)

    def _check_cache(self) -> None:
        if self.path.startswith(_CACHE) and not self.file.is_file():
            folder = self.path.removeprefix(_CACHE).partition("/")[0]
            raise DataUnavailableError(f"{self.path} is not in {cache_folder()}; try `byrote data get {folder}`")

    def effective_rate(self, num_classes: int) -> float:
        """The share of samples in the file whose observed label differs from the true label."""
        labels = self.load()
        return realised(labels.true, labels.observed, num_classes).rate

    def _observe(self, samples: Samples) -> torch.Tensor:
        if samples.ids is None:
            raise ValueError("Recorded finds labels by sample id: corrupt(...) needs ids=")
        recorded, wanted, labels = self.load(), samples.ids, samples.labels
        if len(wanted) == 0:
            return labels.clone()
        place = torch.searchsorted(recorded.ids, wanted).clamp(max=max(len(recorded.ids) - 1, 0))
        absent = recorded.ids[place] != wanted if len(recorded.ids) else torch.ones_like(wanted, dtype=torch.bool)
        if absent.any():
            raise ValueError(
                f"{self.path} has no label for {int(absent.sum())} of {len(wanted)} samples, "
                f"such as id {int(wanted[absent][0])}"
            )
        other = recorded.true[place] != labels
        if other.any():
            from_one = (
                "; its labels count from 1 and must count from 0"
                if bool((recorded.true[place] == labels + 1).all())
                else ""
            )
            raise ValueError(
                f"{self.path} was made for different data: the true labels of {int(other.sum())} of {len(wanted)} "
                f"samples differ, such as id {int(wanted[other][0])}{from_one}"
            )
        observed = recorded.observed[place]
        checks.classes(f"observed labels in {self.path}", observed, samples.num_classes)
        return observed


@lru_cache(maxsize=16)
def _content(recorded: Recorded, stamp: object) -> str:
    return recorded.load().sha256


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"a file of noisy labels ends in {' or '.join(_SUFFIXES)}, got {path.name!r}")
    return suffix


def _manifest(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _manifest_hash(path: Path, true: str, observed: str) -> str:
    """The hash of the standard columns in the manifest; empty without a manifest."""
    manifest = _manifest(path)
    if (true, observed) != ("true", "observed") or not manifest.is_file():
        return ""
    try:
        stored = json.loads(manifest.read_bytes())["sha256"]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{manifest} is not the manifest of noisy labels: it needs a 'sha256'") from None
    return str(stored)


def _labels(path: Path, ids: torch.Tensor, true: torch.Tensor, observed: torch.Tensor) -> NoisyLabels:
    """Check the labels and sort them by id."""
    for name, column in (("id", ids), ("true", true), ("observed", observed)):
        if column.is_floating_point() or column.is_complex():
            raise TypeError(f"{path}: {name} must be integers, got {column.dtype}")
        if name != "id" and len(column) and int(column.min()) < 0:
            raise ValueError(f"{path}: {name} labels must be at least 0, got {int(column.min())}")
    ids, order = ids.long().sort(stable=True)
    twice = ids[1:] == ids[:-1]
    if twice.any():
        raise ValueError(f"{path}: each id may occur only once, got {int(ids[1:][twice][0])} more than once")
    return NoisyLabels(ids, true.long()[order], observed.long()[order])
