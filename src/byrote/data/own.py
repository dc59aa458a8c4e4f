"""The user's own data: arrays in an npz file, folders of images, CSV or Parquet tables.

Where a source has no test set of its own, every fifth sample of each class, in the order of the ids, is one.
"""

from abc import abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from byrote import checks, files
from byrote.component import did_you_mean
from byrote.data.base import Dataset, Raw, Split
from byrote.data.prepare import resize_area

__all__ = ["Arrays", "ImageFolder", "Own", "Table"]

Splits = dict[str, Raw]
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


class Own(Dataset, abstract=True):
    """Base of the user's own data; mean and deviation are those of its own training split, for each channel.

    Args:
        path: the file or folder.
        sha256: checksum of the file, which then is part of the description; empty does not check.
    """

    path: str = Field(min_length=1)
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$")

    @abstractmethod
    def read(self) -> Splits:
        """Both splits as they are stored."""

    def stamp(self) -> object:
        place = Path(self.path).expanduser()
        if not place.exists():
            raise FileNotFoundError(f"{self.kind}: there is no {self.path}")
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        return tuple((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in inside)

    def decode(self, split: Split) -> Raw:
        raw = _read(self, self.stamp())[split]
        if not len(raw.labels):
            raise ValueError(f"{self.label} has no {split} samples")
        return raw

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        images = self.decode("train").images
        unit = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
        mean, std = unit.mean(axis=(0, 2, 3)), unit.std(axis=(0, 2, 3))
        return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())

    @property
    def label(self) -> str:
        return Path(self.path).name


@lru_cache(maxsize=2)
def _read(dataset: Own, stamp: object) -> Splits:
    if dataset.sha256:
        files.verify(Path(dataset.path).expanduser(), f"sha256:{dataset.sha256}")
    return dataset.read()


def _held_out(raw: Raw) -> Splits:
    """Every fifth sample of each class to the test split."""
    test = np.zeros(len(raw.labels), dtype=bool)
    for c in np.unique(raw.labels):
        test[np.flatnonzero(raw.labels == c)[4::5]] = True
    return {
        "train": Raw(raw.images[~test], raw.labels[~test], raw.ids[~test]),
        "test": Raw(raw.images[test], raw.labels[test], raw.ids[test]),
    }


def _layout(images: "np.ndarray[Any, Any]", name: str) -> "np.ndarray[Any, Any]":
    """Stored images to (n, C, H, W), uint8 or float32; d features become d channels, each scaled by itself."""
    if images.ndim == 2:
        images = images[:, :, None, None]
    elif images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim != 4:
        raise ValueError(f"{name}: images (n, d), (n, H, W) or (n, C, H, W) are needed, got {images.shape}")
    if images.dtype.kind not in "uif":
        raise ValueError(f"{name}: images must be numbers, got {images.dtype}")
    return images if images.dtype == np.uint8 else images.astype(np.float32)


def _numbered(labels: "np.ndarray[Any, Any]", name: str) -> "np.ndarray[Any, Any]":
    """Labels as int64: integers as they are, texts by their place in alphabetical order."""
    if labels.dtype.kind in "OUS":
        if any(value is None or value != value for value in labels.tolist()):
            raise ValueError(f"{name}: some labels are missing")
        numbers: np.ndarray[Any, Any] = np.unique(labels.astype(str), return_inverse=True)[1]
        return numbers.astype(np.int64)
    if labels.dtype.kind not in "uib":
        raise ValueError(f"{name}: labels must be integers or texts, got {labels.dtype}")
    numbers = labels.astype(np.int64)
    if numbers.min(initial=0) < 0:
        raise ValueError(f"{name}: labels must be at least 0, got {numbers.min()}")
    return numbers


class Arrays(Own):
    """Arrays in an `.npz` file.

    They are named `images` and `labels`, or `train_images`, `train_labels`, `test_images` and `test_labels`.
    Images are (n, d), (n, H, W), (n, H, W, C) or (n, C, H, W): unsigned bytes 0..255, or numbers taken as they
    are. An id is the place in the arrays, the test arrays after the training arrays.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
        >>> np.savez(path, images=np.arange(640, dtype=np.uint8).reshape(10, 8, 8), labels=np.arange(10) % 2)
        >>> Arrays(path=str(path)).load(), Arrays(path=str(path)).load("test").ids
        (Images(8 of 1x8x8, 2 classes), tensor([8, 9]))
    """

    def read(self) -> Splits:
        arrays = _npz(Path(self.path).expanduser())
        if "images" in arrays:
            images, labels = self._pair(arrays, "")
            return _held_out(Raw(images, _numbered(labels, self.path), np.arange(len(labels))))
        (images, labels), (test_images, test_labels) = (self._pair(arrays, p) for p in ("train_", "test_"))
        n, numbers = len(labels), _numbered(np.concatenate([labels, test_labels]), self.path)
        ids = np.arange(len(numbers))
        return {"train": Raw(images, numbers[:n], ids[:n]), "test": Raw(test_images, numbers[n:], ids[n:])}

    def _pair(
        self, arrays: "dict[str, np.ndarray[Any, Any]]", prefix: str
    ) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
        """Images (n, C, H, W) and labels (n,) as they are stored."""
        for name in (f"{prefix}images", f"{prefix}labels"):
            if name not in arrays:
                raise ValueError(f"{self.path} has no array {name!r}; {did_you_mean(name, list(arrays))}")
        images, labels = _layout(arrays[f"{prefix}images"], self.path), arrays[f"{prefix}labels"]
        if labels.shape != (len(images),):
            raise ValueError(f"{self.path}: {len(images)} {prefix}images need as many labels, got {labels.shape}")
        return images, labels


def _folders(place: Path) -> list[str]:
    """The names of the classes: the folders in `place`."""
    if not place.is_dir():
        raise ValueError(f"{place} is needed: one folder a class")
    return sorted(p.name for p in place.iterdir() if p.is_dir())


def _npz(path: Path) -> "dict[str, np.ndarray[Any, Any]]":
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # a damaged or hostile file can raise anything
        raise ValueError(f"{path} is not a whole npz file of plain arrays: {error}") from None


class ImageFolder(Own):
    """Images in one folder a class, `<class>/*.png`, or with the splits above them, `train/<class>/*.png`.

    Classes are numbered in alphabetical order, ids follow the order of the files' names. Images of different
    sizes need a `resolution`. Needs Pillow: pip install 'byrote[images]'.
    """

    channels: Literal[1, 3] = 3

    def read(self) -> Splits:
        if self.sha256:
            raise ValueError("a folder has no sha256: leave it empty")
        place = Path(self.path).expanduser()
        if not (place / "train").is_dir():
            return _held_out(self._raw(place, _folders(place), 0))
        names = sorted({*_folders(place / "train"), *_folders(place / "test")})
        train = self._raw(place / "train", names, 0)
        return {"train": train, "test": self._raw(place / "test", names, len(train.labels))}

    def _raw(self, place: Path, names: list[str], first: int) -> Raw:
        found = [
            (path, label)
            for label, name in enumerate(names)
            for path in sorted((place / name).rglob("*"))
            if path.suffix.lower() in _IMAGE_SUFFIXES
        ]
        if not found:
            raise ValueError(f"{place} holds no images in folders, one a class")
        images = [self._image(path) for path, _ in found]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise ValueError(f"{place} holds images of {len(sizes)} sizes: set a resolution")
        labels = np.array([label for _, label in found], dtype=np.int64)
        return Raw(np.stack(images), labels, np.arange(first, first + len(labels)))

    def _image(self, path: Path) -> "np.ndarray[Any, Any]":
        """uint8 (C, H, W); averaged down to the resolution here, since each may have another size."""
        import torch

        pillow = checks.require("PIL.Image", "images")
        try:
            with pillow.open(path) as opened:
                pixels = np.asarray(opened.convert("RGB" if self.channels == 3 else "L"))
        except Exception as error:  # Pillow raises all sorts
            raise ValueError(f"{path} is not an image that can be read: {error}") from None
        image = torch.from_numpy(pixels.reshape(*pixels.shape[:2], self.channels).transpose(2, 0, 1).copy())
        if self.resolution is not None and image.shape[-2:] != (self.resolution, self.resolution):
            image = resize_area(image[None].float(), self.resolution)[0].round().to(torch.uint8)
        return image.numpy()


class Table(Own):
    """A CSV or Parquet table: a row a sample, one label column, the other columns its features.

    Args:
        label_column: the column with the label, integers or texts (numbered alphabetically).
        features: the columns to use, in order; empty takes all that are numbers.
        shape: (C, H, W) of a row's features; None takes dx1x1, each feature scaled by itself.
        split_column: a column that says "train" or "test"; empty holds out every fifth row of each class.
        id_column: a column of different integers; empty numbers the rows.
    """

    label_column: str = "label"
    features: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    split_column: str = ""
    id_column: str = ""

    def read(self) -> Splits:
        columns = _columns(Path(self.path).expanduser())
        named = [self.label_column, *self.features, self.split_column, self.id_column]
        for name in filter(None, named):
            if name not in columns:
                raise ValueError(f"{self.path} has no column {name!r}; {did_you_mean(name, list(columns))}")
        labels = _numbered(columns[self.label_column], f"{self.path}, column {self.label_column}")
        ids = columns[self.id_column].astype(np.int64) if self.id_column else np.arange(len(labels))
        raw = Raw(self._images(columns), labels, ids)
        if not self.split_column:
            return _held_out(raw)
        which = columns[self.split_column].astype(str)
        return {
            split: Raw(raw.images[which == split], raw.labels[which == split], raw.ids[which == split])
            for split in ("train", "test")
        }

    def _images(self, columns: "dict[str, np.ndarray[Any, Any]]") -> "np.ndarray[Any, Any]":
        other = {self.label_column, self.split_column, self.id_column}
        names = self.features or tuple(
            name for name, column in columns.items() if name not in other and column.dtype.kind in "uif"
        )
        text = [name for name in names if columns[name].dtype.kind not in "uif"]
        if text or not names:
            raise ValueError(f"{self.path}: feature columns must be numbers, got {text or 'none'}")
        values = np.column_stack([columns[name].astype(np.float32) for name in names])  # (n, d)
        shape = self.shape or (len(names), 1, 1)
        if np.prod(shape) != len(names):
            raise ValueError(f"{self.path}: {len(names)} features do not make {'x'.join(map(str, shape))}")
        return values.reshape(-1, *shape)


def _columns(path: Path) -> "dict[str, np.ndarray[Any, Any]]":
    """The table's columns in the order of its rows; a missing number becomes NaN."""
    import duckdb

    readers = {".csv": "read_csv(?)", ".parquet": "read_parquet(?)"}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"a table ends in .csv or .parquet, got {path.name}")
    try:
        with duckdb.connect() as connection:
            stored = connection.execute(f"SELECT * FROM {reader}", [str(path)]).fetchnumpy()
    except duckdb.Error as error:
        raise ValueError(f"{path} is not a whole table: {str(error).splitlines()[0]}") from None
    return {name: _plain(column) for name, column in stored.items()}


def _plain(column: Any) -> "np.ndarray[Any, Any]":
    """Without the mask of missing values."""
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    if not column.mask.any():
        return np.asarray(column.data)
    numbers = column.dtype.kind in "uif"
    plain: np.ndarray[Any, Any] = column.data.astype(np.float64 if numbers else object)
    plain[column.mask] = np.nan if numbers else None
    return plain
