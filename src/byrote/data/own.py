"""The base class for the user's own data: it checks files and classes, holds out a test split, and scales pixels.

If a source has no test set, every fifth sample of each class, in the order of the ids, is held out as the test set.
"""

import logging
from abc import abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from byrote import inputs
from byrote.data.base import Dataset, Raw, Split

__all__ = ["Content", "Own", "held_out"]

log = logging.getLogger("byrote")
_PIECE = 1024  # samples converted at a time


class Content(NamedTuple):
    """The content of a source."""

    train: Raw
    test: Raw
    names: tuple[str, ...] = ()  # the names of the classes, if they have names
    notes: tuple[str, ...] = ()  # one sentence for each thing that was left out or decided


class Own(Dataset, abstract=True):
    """Base of the user's own data sets; the mean and deviation of each channel come from the data set's own training
    split.

    Args:
        path: the file or folder. It is taken literally, without patterns such as `*`.
        sha256: the value that `content()` must have, as part of the description; empty: no check.
        labels: whether the labels are "known" to be true or only "given". With "given", claims, figures and columns of
            `store.history()` do not use true labels; they report how closely predictions agree with the given labels.
    """

    path: str = Field(min_length=1, kw_only=True)
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    labels: Literal["known", "given"] = "given"

    @abstractmethod
    def read(self) -> Content:
        """Both splits as they are stored."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that are read, and no others."""

    @property
    def place(self) -> Path:
        """The path of the file or folder on this machine."""
        return inputs.expanded(self.path)

    def stamp(self) -> object:
        return inputs.stamp(self.files())

    def content(self) -> str:
        """Sixty-four hexadecimal digits that identify the content, wherever it is stored.

        For one file this is the SHA-256 of its bytes. For several files it is the SHA-256 over the path (relative to
        the folder) and the SHA-256 of each file that is read, sorted by path. Files that are left out do not matter.

        Raises:
            FileNotFoundError, ValueError: a file is not there or cannot be read.

        Example:
            >>> import tempfile
            >>> from byrote import data, files
            >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
            >>> np.savez(path, images=np.zeros((4, 2)), labels=np.arange(4) % 2)
            >>> data.Arrays(path=str(path)).content() == files.sha256(path)
            True
        """
        return inputs.content(self.place, self.files())

    def notes(self) -> tuple[str, ...]:
        """One sentence for each thing that was left out or decided while reading; each sentence is also logged as a
        warning."""
        return _read(self, self.stamp()).notes

    def class_names(self) -> tuple[str, ...]:
        """The names of all classes in the source, in the order of their numbers."""
        content = _read(self, self.stamp())
        return content.names or tuple(map(str, np.union1d(content.train.labels, content.test.labels).tolist()))

    def decode(self, split: Split) -> Raw:
        content = _read(self, self.stamp())
        raw: Raw = getattr(content, split)
        if not len(raw.labels):
            advice = ": every fifth sample is held out, so each class needs 5 or more" if split == "test" else ""
            raise ValueError(f"{self.label} has no {split} samples{advice}")
        wanted = range(1 + _largest(content)) if self.classes is None else self.classes
        absent = sorted(set(wanted) - set(np.unique(raw.labels).tolist()))
        if absent:
            name = f" ({content.names[absent[0]]!r})" if absent[0] < len(content.names) else ""
            more = f" and {len(absent) - 1} more classes" if len(absent) > 1 else ""
            raise ValueError(
                f"{self.label} ({split}) has no sample of class {absent[0]}{name}{more}: every class needs samples "
                "in both splits (at least 5 if every fifth is held out for the test)"
            )
        return raw

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        images = self.decode("train").images
        white = 255 if images.dtype == np.uint8 else 1
        pieces = range(0, len(images), _PIECE)  # in pieces, because float64 takes eight times the memory of bytes
        count = images.size / images.shape[1]
        total = sum(images[i : i + _PIECE].astype(np.float64).sum(axis=(0, 2, 3)) for i in pieces)
        mean = np.asarray(total) / count
        center = mean[:, None, None]
        squares = sum(((images[i : i + _PIECE] - center) ** 2).sum(axis=(0, 2, 3)) for i in pieces)
        std = np.sqrt(np.asarray(squares) / count)
        return tuple((mean / white).tolist()), tuple((np.where(std > 0, std, white) / white).tolist())

    @property
    def label(self) -> str:
        return Path(self.path).name


@lru_cache(maxsize=2)
def _read(dataset: Own, stamp: object) -> Content:
    if dataset.sha256:
        digest = dataset.content()
        if digest != dataset.sha256:
            where, wanted = inputs.shown(dataset.path), dataset.sha256
            raise ValueError(f"{where} is damaged or a different file: expected sha256 {wanted}, got {digest}")
    before = [inputs.fingerprint(path) for path in dataset.files()]
    content = dataset.read()
    if [inputs.fingerprint(path) for path in dataset.files()] != before:
        raise ValueError(
            f"{inputs.shown(dataset.path)} changed while it was read; try again when no program is writing to it"
        )
    _check(dataset, content)
    for note in content.notes:
        log.warning("%s", note)
    return content


def _largest(content: Content) -> int:
    """The largest class number in both splits."""
    return max(int(raw.labels.max(initial=0)) for raw in (content.train, content.test))


def _check(dataset: Own, content: Content) -> None:
    """Check that numbers are finite, and that the classes are 0 .. N-1 unless the description names classes to keep."""
    where = inputs.shown(dataset.path)
    for raw in (content.train, content.test):
        for start in range(0, len(raw.images), _PIECE) if raw.images.dtype != np.uint8 else ():
            bad = ~np.isfinite(raw.images[start : start + _PIECE])
            if bad.any():
                sample = int(raw.ids[start + np.flatnonzero(bad.any(axis=(1, 2, 3)))[0]])
                raise ValueError(
                    f"{where}: images must be finite, got NaN or infinite values in the sample with id {sample}"
                )
    present = np.union1d(content.train.labels, content.test.labels)
    if dataset.classes is None and len(present):
        _check_classes(present, content.names, where)


def _check_classes(present: "np.ndarray[Any, Any]", names: tuple[str, ...], where: str) -> None:
    low, high, count = int(present[0]), int(present[-1]), len(present)
    if count < 2:
        name = names[0] if names else low
        raise ValueError(f"{where}: expected at least two classes, but every sample is of class {name!r}")
    if low == 1 and high == count:
        chosen = f"classes=tuple(range(1, {count + 1}))"
        raise ValueError(
            f"{where} has no sample of class 0: labels must start at 0, but these run from 1 to {count}; give "
            f"{chosen}, which numbers them from 0, or subtract 1 from the labels"
        )
    if high != count - 1:
        gap = int(np.flatnonzero(present != np.arange(count))[0])
        raise ValueError(
            f"{where} has no sample of class {gap}: {count} classes need the labels 0 to {count - 1}, got labels up "
            f"to {high}; name the classes to keep with classes=(...), which numbers them from 0"
        )


def held_out(raw: Raw) -> tuple[Raw, Raw]:
    """Training and test samples, where every fifth sample of each class is held out for the test."""
    test = np.zeros(len(raw.labels), dtype=bool)
    for c in np.unique(raw.labels):
        test[np.flatnonzero(raw.labels == c)[4::5]] = True
    return (
        Raw(raw.images[~test], raw.labels[~test], raw.ids[~test]),
        Raw(raw.images[test], raw.labels[test], raw.ids[test]),
    )
