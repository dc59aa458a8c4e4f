"""The user's own arrays, in an `.npz` file or as `.npy` files."""

from pathlib import Path
from typing import Any

import numpy as np

from byrote import inputs
from byrote.component import did_you_mean
from byrote.data.base import Raw
from byrote.data.formats.labels import numbered, one_column
from byrote.data.formats.layout import Layout, channels_first
from byrote.data.formats.numpy import read_npy, read_npz
from byrote.data.formats.single import single
from byrote.data.own import Content, Own, held_out

__all__ = ["Arrays"]

Array = np.ndarray[Any, Any]
_SPLIT = ("train_images", "train_labels", "test_images", "test_labels")
_NAMES = ("images", "labels", *_SPLIT)


class Arrays(Own):
    """Arrays in an `.npz` file, or in `.npy` files in the same folder.

    They are named `images` and `labels`, or `train_images`, `train_labels`, `test_images` and `test_labels`; for
    `.npy` files, `path` is the file with the (training) images, or the folder. Images are (n, d), (n, H, W),
    (n, H, W, C) or (n, C, H, W): unsigned bytes 0..255, or numbers, which are not scaled. Labels are 0..N-1,
    one-hot rows or strings. The id of a sample is its position in the arrays; positions in the test arrays are counted
    after those in the training arrays.

    Args:
        layout: "nchw" (channels first) or "nhwc" (channels last); empty infers the layout from the shape if only one is
            possible.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
        >>> np.savez(path, images=np.arange(640, dtype=np.uint8).reshape(10, 8, 8), labels=np.arange(10) % 2)
        >>> Arrays(path=str(path)).load(), Arrays(path=str(path)).load("test").ids
        (Images(8 of 1x8x8, 2 classes), tensor([8, 9]))
    """

    layout: Layout = ""

    def files(self) -> list[Path]:
        return list(_npy_files(self.place).values()) or [self.place]

    def read(self) -> Content:
        arrays, others = _arrays(self.place)
        where = inputs.shown(self.path)
        split = [name for name in _SPLIT if name in arrays]
        if split and ("images" in arrays or "labels" in arrays):
            raise ValueError(
                f"{where} contains both {split[0]} and arrays named images or labels: name a split in all names, or in "
                "none"
            )
        self._need(arrays, _SPLIT if not {"images", "labels"} & arrays.keys() else ("images", "labels"), others)
        notes = (
            (f"{where}: left out {len(others)} other array{'s' if len(others) > 1 else ''}: {', '.join(others[:5])}",)
            if others
            else ()
        )
        if not split:
            images, column = self._pair(arrays, "")
            labels = numbered(column, f"{where}, array labels")
            return Content(
                *held_out(Raw(images, labels.numbers, np.arange(len(column)))), names=labels.names, notes=notes
            )
        (images, column), (test_images, test_column) = (self._pair(arrays, p) for p in ("train_", "test_"))
        _same_kind(where, images, test_images, "images")
        _same_scale(where, images, test_images)
        if (column.dtype.kind in "US") != (test_column.dtype.kind in "US"):
            raise ValueError(f"{where}: train_labels and test_labels must both be numbers or both be strings")
        n, labels = len(column), numbered(np.concatenate([column, test_column]), f"{where}, training and test labels")
        ids = np.arange(len(labels.numbers))
        train, test = Raw(images, labels.numbers[:n], ids[:n]), Raw(test_images, labels.numbers[n:], ids[n:])
        return Content(train, test, labels.names, notes)

    def _need(self, arrays: dict[str, Array], names: tuple[str, ...], others: list[str]) -> None:
        absent = next((name for name in names if name not in arrays), None)
        if absent is not None and arrays:
            known = did_you_mean(absent, [*arrays, *others])
            raise ValueError(f"{inputs.shown(self.path)} has no array {absent!r}; {known}")
        if absent is not None:
            raise ValueError(
                f"{inputs.shown(self.path)} has no array {absent!r}: the arrays must be named images and labels, or "
                f"{', '.join(_SPLIT)}, but the arrays there are {', '.join(others) or 'none'}"
            )

    def _pair(self, arrays: dict[str, Array], prefix: str) -> tuple[Array, Array]:
        """The stored images as (n, C, H, W), uint8 or float32, and the labels as (n,)."""
        where = inputs.shown(self.path)
        stored = arrays[f"{prefix}images"]
        if stored.dtype.kind not in "buif":
            raise ValueError(f"{where}: {prefix}images must be numbers, got {stored.dtype}")
        images = channels_first(stored, self.layout, where)
        if images.dtype != np.uint8:
            inputs.fits(12 * images.size, f"{where}: {prefix}images {stored.shape} as float32")
            kind = "feature" if stored.ndim == 2 else "channel"
            names = [f"{kind} {place} of {prefix}images" for place in range(images.shape[1])]
            images = single(images, names, where, bounded=False)  # infinite values are refused later
        labels = one_column(arrays[f"{prefix}labels"], f"{where}, array {prefix}labels")
        if len(labels) != len(images):
            raise ValueError(
                f"{where}: {len(images)} {prefix}images need the same number of labels, got labels of shape "
                f"{labels.shape}"
            )
        return images, labels


def _same_kind(where: str, train: Array, test: Array, name: str) -> None:
    """Check that the images of both splits have the same shape and type."""
    for what, first, second in (("shape", train.shape[1:], test.shape[1:]), ("type", train.dtype, test.dtype)):
        if first != second:
            raise ValueError(
                f"{where}: train_{name} and test_{name} must have the same {what}, got {first} and {second} "
                "(bytes 0..255 are divided by 255, other numbers are not scaled)"
            )


def _same_scale(where: str, train: Array, test: Array) -> None:
    """Check that the numbers of one split do not go up to 255 if those of the other go up to 1."""
    if train.dtype == np.uint8 or min(train.size, test.size) == 0 or train.shape[2:] == (1, 1):
        return
    tops = [float(images.max()) for images in (train, test)]
    if min(float(train.min()), float(test.min())) >= 0 and min(tops) <= 1 and 16 < max(tops) <= 255:
        raise ValueError(
            f"{where}: train_images and test_images must have the same scale, but their largest values are "
            f"{tops[0]:g} and {tops[1]:g}: divide the larger ones by 255"
        )


def _npy_files(place: Path) -> dict[str, Path]:
    """The `.npy` files to read, by array name; empty if `place` is a file of another type."""
    if inputs.is_folder(place):
        files = {p.stem: p for p in sorted(place.iterdir()) if p.suffix.lower() == ".npy" and p.stem in _NAMES}
        if not files:
            raise ValueError(
                f"{inputs.shown(place)} must contain images.npy and labels.npy, or "
                f"{', '.join(f'{n}.npy' for n in _SPLIT)}"
            )
        return files
    if place.suffix.lower() != ".npy":
        return {}
    if place.stem not in ("images", "train_images"):
        raise ValueError(
            f"{inputs.shown(place)} has no array 'images': .npy files must be named images.npy and labels.npy (or "
            "train_images.npy, train_labels.npy, test_images.npy, test_labels.npy), in one folder"
        )
    names = ("images", "labels") if place.stem == "images" else _SPLIT
    return {name: place.with_name(name + place.suffix) for name in names}


def _arrays(place: Path) -> tuple[dict[str, Array], list[str]]:
    """The arrays that are used, by name, and the names of the other arrays."""
    files = _npy_files(place)
    if not files:
        return read_npz(place, _NAMES)
    others = sorted(p.name for p in place.iterdir() if p.suffix.lower() == ".npy") if place.is_dir() else []
    return {name: read_npy(path) for name, path in files.items()}, [o for o in others if Path(o).stem not in files]
