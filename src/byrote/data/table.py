"""The user's own tables: one row per sample, with numbers or with the name of an image file."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from byrote import inputs
from byrote.component import did_you_mean
from byrote.data.base import Raw
from byrote.data.formats import tables
from byrote.data.formats.features import choose
from byrote.data.formats.images import SUFFIXES, stack
from byrote.data.formats.labels import different_ids, numbered, split_named, typed
from byrote.data.own import Content, Own, held_out

__all__ = ["Table"]


class Table(Own):
    """A CSV or Parquet table with one row per sample, one label column, and columns of features or of image paths.

    A CSV file has a header. Columns of text, columns without any value, and columns that number the rows (such as the
    index that pandas writes) are not features; they are left out, logged, and returned by `notes()`. A column in which
    only some cells are numbers is refused.

    Args:
        label_column: the column with the labels: integers, or strings that are numbered alphabetically.
        features: the columns to use, in order; empty takes all columns of numbers or of true and false (1 and 0).
        shape: (C, H, W) of a row's features; None takes dx1x1, and each feature is scaled separately.
        split_column: a column of "train" and "test" (rows with "val" are left out, or are the test split if no row has
            "test"); empty holds out every fifth row of each class.
        id_column: a column of integers without repeats; empty numbers the rows.
        image_column: a column with the path of each row's image; empty takes features.
        image_folder: the folder that these paths are relative to; empty takes the folder of the table.
        channels: the channels of these images: 3, or 1 for gray.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
        >>> _ = path.write_text("a,b,label\\n" + "1.5,2,cat\\n3,4.5,dog\\n" * 5)
        >>> Table(path=str(path)).load()
        Images(8 of 2x1x1, 2 classes)
    """

    label_column: str = "label"
    features: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    split_column: str = ""
    id_column: str = ""
    image_column: str = ""
    image_folder: str = ""
    channels: Literal[1, 3] = 3

    def files(self) -> list[Path]:
        if not self.image_column:
            return [self.place]
        with tables.open_table(self.place) as table:
            self._check_names(table)
            return [self.place, *self._image_files(table)]

    def read(self) -> Content:
        with tables.open_table(self.place) as table:
            self._check_names(table)
            labels = numbered(typed(table.cells(self.label_column)), self._where(self.label_column), "row")
            rows = np.arange(table.rows)
            if not len(rows):
                raise ValueError(f"{inputs.shown(self.path)} must have at least one row, got none")
            ids = different_ids(table.cells(self.id_column), self._where(self.id_column)) if self.id_column else rows
            images, notes = self._images(table)
            raw = Raw(images, labels.numbers, ids)
            if not self.split_column:
                return Content(*held_out(raw), names=labels.names, notes=tuple(notes))
            which, more = self._splits(table.cells(self.split_column))
        train, test = (Raw(*(part[which == split] for part in raw)) for split in ("train", "test"))
        return Content(train, test, labels.names, (*notes, *more))

    def _where(self, column: str) -> str:
        return f"{inputs.shown(self.path)}, column {column}"

    def _check_names(self, table: tables.Table) -> None:
        """Check that every named column exists and has one role."""
        roles = [self.label_column, *self.features]
        roles += filter(None, (self.split_column, self.id_column, self.image_column))
        for name in roles:
            if name not in table.types:
                raise ValueError(
                    f"{inputs.shown(self.path)} has no column {name!r}; {did_you_mean(name, list(table.types))}"
                )
        for name in roles:
            if roles.count(name) > 1:
                raise ValueError(
                    f"{self._where(name)}: a column can have only one role (label, feature, split, id or image) and "
                    "be named only once"
                )
        if self.image_column and (self.features or self.shape):
            raise ValueError(f"{self._where(self.image_column)}: a row can have an image or features, not both")

    def _image_files(self, table: tables.Table) -> list[Path]:
        base = inputs.expanded(self.image_folder) if self.image_folder else self.place.parent
        names = table.cells(self.image_column)
        for row, name in enumerate(names, 1):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(
                    f"{self._where(self.image_column)}: expected the name of a file, got {name!r} in row {row}"
                )
        seen: dict[str, int] = {}
        for row, name in enumerate(names, 1):
            if seen.setdefault(name, row) != row:
                raise ValueError(
                    f"{self._where(self.image_column)}: each image can have only one row, but {name!r} is in rows "
                    f"{seen[name]} and {row}"
                )
        paths = [base / name for name in names]
        lost = [row for row, path in enumerate(paths, 1) if not path.exists()]
        if lost:
            raise FileNotFoundError(
                f"{self._where(self.image_column)}: there is no file {inputs.shown(paths[lost[0] - 1])} (row {lost[0]}"
                + (f", and {len(lost) - 1} other files are missing)" if len(lost) > 1 else ")")
                + "; paths are relative to image_folder"
            )
        return paths

    def _images(self, table: tables.Table) -> tuple["np.ndarray[Any, Any]", list[str]]:
        """The images (n, C, H, W), and one sentence for each thing left out."""
        if self.image_column:
            white = 255.0 if self.preprocessing == "raw" else 1.0
            images, notes = stack(self._image_files(table), self.channels, self.resolution, white)
            return images, [f"{self.label}: {note}" for note in notes]
        other = set(filter(None, (self.label_column, self.split_column, self.id_column)))
        names, values, notes = choose(table, self.features, other, inputs.shown(self.path))
        if not names:
            texts = [n for n in table.types if n not in other and _names_images(table.cells(n))]
            lists = [n for n, kind in table.types.items() if n not in other and kind.endswith("]")]
            hint = f"; column {texts[0]!r} names images: set image_column={texts[0]!r}" if texts else ""
            hint = hint or (f"; column {lists[0]!r} contains lists: write a column for each number" if lists else "")
            raise ValueError(f"{inputs.shown(self.path)}: feature columns must be numbers, got none{hint}")
        shape = self.shape or (len(names), 1, 1)
        if np.prod(shape) != len(names) or min(shape) < 1:
            raise ValueError(
                f"{inputs.shown(self.path)}: {len(names)} features cannot form the shape {'x'.join(map(str, shape))}"
            )
        return values.reshape(-1, *shape), notes

    def _splits(self, cells: list[Any]) -> tuple["np.ndarray[Any, Any]", list[str]]:
        """The split of each row ("" for a row that is left out), and one sentence for each choice that was made."""
        where = self._where(self.split_column)
        splits = [split_named(str(cell)) if cell is not None else None for cell in cells]
        unknown = [row for row, split in enumerate(splits) if split is None]
        if unknown:
            first = cells[unknown[0]]
            raise ValueError(
                f"{where}: every row must be train, test or val, but {len(unknown)} of {len(cells)} are not, the "
                f"first in row {unknown[0] + 1} ({'' if first is None else first!r})"
            )
        which, held = np.array(splits, dtype=object), sum(split == "val" for split in splits)
        if not held:
            return which, []
        if "test" not in splits:
            return np.where(which == "val", "test", which), [f"{where}: no row is test, so val is the test split"]
        return which, [f"{where}: left out {held} rows with val"]


def _names_images(cells: list[Any]) -> bool:
    """Whether the cells of a column are names of image files."""
    return any(isinstance(cell, str) and Path(cell).suffix.lower() in SUFFIXES for cell in cells[:99])
