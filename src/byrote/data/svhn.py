"""SVHN: house numbers cut into digits, published as MATLAB files (Netzer et al. 2011)."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from byrote import inputs
from byrote.data.base import Dataset, Raw, Split
from byrote.data.fetch.remote import Remote
from byrote.data.fetch.sources import Collection, first_file
from byrote.data.formats.mat import read_mat

__all__ = ["SVHN", "SVHN_FILES", "decode_split"]

_PARTS = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_LIMIT = 1 << 29  # the file of the training set has 225 MB


def decode_split(content: bytes) -> Raw:
    """The images, labels and ids in the bytes of a split's file, in which label 10 means the digit 0.

    Raises:
        ValueError: not a MATLAB file of images and labels, or labels outside 1..10.
    """
    images, labels = read_mat(content)
    if labels.dtype.kind not in "uif" or not np.isin(labels, np.arange(1, 11)).all():
        raise ValueError("SVHN's labels must lie in 1..10")
    return Raw(images, labels.astype(np.int64) % 10, np.arange(len(labels)))


def _find(folder: Path, part: str) -> bytes | None:
    path = first_file(folder, ("svhn", "SVHN"), (part,))
    return None if path is None else inputs.read(path, _LIMIT, f"the file {part}")


SVHN_FILES = Collection(
    name="svhn",
    title="SVHN (cropped digits)",
    license="for non-commercial research",
    size="246 MB",
    parts={
        "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
    },
    find=_find,
    remotes=(Remote("address", "http://ufldl.stanford.edu/housenumbers/", tuple(_PARTS.values())),),
    note="If you have the files, name their folder in `byrote data get svhn`, or set BYROTE_DATA to it",
)


class SVHN(Dataset):
    """Photographed digits, 73,257 training and 26,032 test images of 3x32x32 in 10 unbalanced classes.

    Example:
        >>> SVHN(classes=(0, 1)).kind
        'svhn'
    """

    title: ClassVar[str] = "SVHN"
    count: ClassVar[int | None] = 10
    mean: ClassVar[tuple[float, ...]] = (0.4377, 0.4438, 0.4728)
    std: ClassVar[tuple[float, ...]] = (0.1980, 0.2010, 0.1970)

    def collection(self, split: Split) -> Collection | None:
        return SVHN_FILES

    def decode(self, split: Split) -> Raw:
        part = _PARTS[split]
        return decode_split(SVHN_FILES.open((part,))[part])
