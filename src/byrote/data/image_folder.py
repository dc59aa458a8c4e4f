"""The user's own images, one folder per class."""

from pathlib import Path
from typing import Literal

import numpy as np

from byrote import inputs
from byrote.data.base import Raw
from byrote.data.formats.folders import Listing, list_classes
from byrote.data.formats.images import stack
from byrote.data.own import Content, Own, held_out

__all__ = ["ImageFolder"]


class ImageFolder(Own):
    """Images in one folder per class, `<class>/*.png`, or with the splits above them, `train/<class>/*.png`.

    Classes are numbered in alphabetical order, or by value if their names are whole numbers ("10" after "2"); ids
    number the files in the order of their paths. Hidden files and files created by operating systems and notebooks are
    not samples; the number of files left out is logged and returned by `notes()`. The orientation that a camera stored
    (EXIF) is applied. Images of 16 bits are divided by 65,535; integers and floats of 32 bits are not scaled;
    transparency is dropped. Images of different sizes need a `resolution`. Needs Pillow: pip install 'byrote[images]'.

    Args:
        channels: 3, or 1 for gray.

    Raises:
        ValueError: a class without images, an image that cannot be read completely, or several sizes without a
            resolution.
    """

    channels: Literal[1, 3] = 3

    def _listing(self) -> Listing:
        return list_classes(self.place)

    def files(self) -> list[Path]:
        return self._listing().files

    def stamp(self) -> object:
        listing = self._listing()
        return inputs.stamp(listing.files), listing.notes  # so that changes among the files left out are reported again

    def read(self) -> Content:
        listing = self._listing()
        white = 255.0 if self.preprocessing == "raw" else 1.0
        images, notes = stack(listing.files, self.channels, self.resolution, white)
        labels = np.array([number for entries in listing.splits.values() for _, number in entries], dtype=np.int64)
        raw = Raw(images, labels, np.arange(len(labels)))
        notes = [*listing.notes, *(f"{self.label}: {note}" for note in (*notes, *_twice(listing.files)))]
        if "train" not in listing.splits:
            train, test = held_out(raw)
        else:
            n = len(listing.splits["train"])
            train, test = (Raw(*(part[where] for part in raw)) for where in (slice(0, n), slice(n, None)))
        return Content(train, test, listing.names, tuple(notes))


def _twice(files: list[Path]) -> list[str]:
    """A sentence about images that appear more than once because of links; empty if there are none."""
    first: dict[tuple[int, int], Path] = {}
    again: list[tuple[Path, Path]] = []
    for path in files:
        _, device, inode, *_ = inputs.fingerprint(path)
        known = first.setdefault((device, inode), path)
        if known is not path:
            again.append((known, path))
    if not again:
        return []
    known, path = again[0]
    names = f"{inputs.shown(known)} and {inputs.shown(path)}"
    return [f"{len(again)} of {len(files)} images repeat earlier images because of links, the first: {names}"]
