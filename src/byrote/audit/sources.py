"""Read a user's files: an image folder, a table, embeddings, probabilities, labels. The files are never changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote import inputs
from byrote.audit.inputs import class_numbers, group_numbers
from byrote.component import did_you_mean
from byrote.data.formats.features import choose
from byrote.data.formats.folders import list_classes
from byrote.data.formats.images import stack
from byrote.data.formats.labels import typed
from byrote.data.formats.numpy import read_npy
from byrote.data.formats.tables import open_table

__all__ = ["Source", "array_file", "column_file", "image_folder", "probability_file", "table_file"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Source:
    """Samples with their labels, read from files.

    Attributes:
        x: (n, d) or (n, C, H, W).
        labels: (n,) in 0..N-1.
        names: the names of the classes.
        ids: the name of each sample: the path of its file within the folder, or its row number.
        groups: (n,), or None.
        about: where the samples came from, for the record of the audit.
        notes: what was left out, one sentence for each kind of omission.
    """

    x: NDArray[Any]
    labels: Integers
    names: tuple[str, ...]
    ids: tuple[str, ...]
    groups: Integers | None
    about: dict[str, Any]
    notes: tuple[str, ...] = ()


def image_folder(place: Path, resolution: int | None = None) -> Source:
    """Read all images of a folder with one subfolder per class; the images of all splits are combined.

    Args:
        resolution: the side in pixels to which images are averaged down; with None, all images must have the same size.
    """
    listing = list_classes(place)
    pairs = [pair for entries in listing.splits.values() for pair in entries]
    images, notes = stack([path for path, _ in pairs], 3, resolution)
    return Source(
        x=images,
        labels=np.array([number for _, number in pairs], dtype=np.int64),
        names=listing.names,
        ids=tuple(path.relative_to(place).as_posix() for path, _ in pairs),
        groups=None,
        about={"kind": "images", "path": str(place.absolute())},
        notes=(*listing.notes, *notes),
    )


def table_file(path: Path, label: str, groups: str | None = None) -> Source:
    """Read the rows of a CSV or Parquet table.

    Args:
        label: the column with the labels.
        groups: the column with the groups.
    """
    with open_table(path) as table:
        for name in filter(None, (label, groups)):
            if name not in table.types:
                raise ValueError(
                    f"{inputs.shown(path)} has no column {name!r}; {did_you_mean(name, list(table.types))}"
                )
        labels, names = class_numbers(typed(table.cells(label)), f"{inputs.shown(path)}, column {label}")
        columns, x, notes = choose(table, (), set(filter(None, (label, groups))), inputs.shown(path))
        if not columns:
            raise ValueError(f"{inputs.shown(path)}: feature columns must be numbers, got none")
        grouped = np.array([str(cell) for cell in table.cells(groups)]) if groups else None
    return Source(
        x=x,
        labels=labels,
        names=names,
        ids=tuple(map(str, range(len(labels)))),
        groups=group_numbers(grouped, len(labels)),
        about={"kind": "table", "path": str(path.absolute()), "label": label},
        notes=tuple(notes),
    )


def column_file(path: Path, column: str | None = None) -> NDArray[Any]:
    """Read one value per sample from an .npy file, a column of a .csv or .parquet table, or the lines of a text file.

    Args:
        column: a column of the table; None: the only column, or the column "label".
    """
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        return np.array(inputs.read(path, 1 << 28, "a file of labels").decode("utf-8").splitlines(), dtype=object)
    with open_table(path) as table:
        known = list(table.types)
        name = column or (known[0] if len(known) == 1 else "label")
        if name not in known:
            raise ValueError(f"{inputs.shown(path)} has no column {name!r}; {did_you_mean(name, known)}")
        return typed(table.cells(name))


def array_file(path: Path, labels: Path, column: str | None, groups: Path | None) -> Source:
    """Read embeddings or features from an .npy file, and labels from another file."""
    x = read_npy(path)
    if x.dtype.kind not in "biuf" or x.ndim < 2:
        raise ValueError(f"{inputs.shown(path)}: expected numbers (n, d), got {x.dtype} of shape {x.shape}")
    return _beside(x, path, labels, column, groups, "embeddings")


def probability_file(path: Path, labels: Path, column: str | None) -> Source:
    """Open probabilities in an .npy file; they stay on disk until they are read in blocks."""
    try:
        p = np.load(inputs.plain_file(path, "an npy file"), mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{inputs.shown(path)} is not a complete npy file of plain numbers") from None
    if p.dtype.kind != "f" or p.ndim != 2:
        raise ValueError(f"{inputs.shown(path)}: expected probabilities (n, N), got {p.dtype} of shape {p.shape}")
    source = _beside(p, path, labels, column, None, "probabilities")
    if len(source.names) != p.shape[1]:
        raise ValueError(
            f"{inputs.shown(path)} has {p.shape[1]} columns, but the labels name {len(source.names)} classes: give "
            "one column per class, in the order of the class names or numbers"
        )
    return source


def _beside(x: NDArray[Any], path: Path, labels: Path, column: str | None, groups: Path | None, kind: str) -> Source:
    cells = column_file(labels, column)
    whole = kind == "probabilities" and np.asarray(cells).dtype.kind in "iu" and len(cells)
    if whole and int(cells.min()) >= 0 and int(cells.max()) < x.shape[1]:  # classes without samples keep their columns
        numbers, names = np.asarray(cells, dtype=np.int64), tuple(map(str, range(x.shape[1])))
    else:
        numbers, names = class_numbers(cells, inputs.shown(labels))
    if len(numbers) != len(x):
        raise ValueError(
            f"{inputs.shown(path)} has {len(x)} rows, but {inputs.shown(labels)} has {len(numbers)} labels"
        )
    return Source(
        x=x,
        labels=numbers,
        names=names,
        ids=tuple(map(str, range(len(numbers)))),
        groups=group_numbers(None if groups is None else column_file(groups), len(numbers)),
        about={"kind": kind, "path": str(path.absolute()), "labels": str(labels.absolute()), "label": column},
    )
