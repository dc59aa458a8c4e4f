"""SVHN: house numbers cut into digits, published as MATLAB files (Netzer et al. 2011)."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from byrote import inputs
from byrote.data.base import Dataset, Raw, Split
from byrote.data.remote import Remote
from byrote.data.sources import Collection, first_file

__all__ = ["SVHN", "SVHN_FILES", "read_mat"]

_PARTS = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_LIMIT = 1 << 29  # the training set has 225 MB
_COMPRESSED = 15


def read_mat(content: bytes, limit: int = _LIMIT) -> Raw:
    """Decode the bytes of a file with X (32, 32, 3, n) and y (n, 1), where the label 10 means the digit 0.

    Raises:
        ValueError: not such a file, or one that unpacks to more than `limit` bytes.
    """
    from scipy import io as matlab

    _check_unpacked(content, limit)
    try:
        stored = matlab.loadmat(cast(Any, io.BytesIO(content)), variable_names=["X", "y"])
        images, labels = np.asarray(stored["X"]), np.asarray(stored["y"]).ravel()
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"a MATLAB file with X and y is needed: {error}") from None
    if images.ndim != 4 or images.shape[2] != 3 or images.dtype != np.uint8 or len(labels) != images.shape[3]:
        raise ValueError(f"X uint8 (H, W, 3, n) and n labels are needed, got {images.shape} and {len(labels)}")
    if labels.dtype.kind not in "uif" or not np.isin(labels, np.arange(1, 11)).all():
        raise ValueError("SVHN's labels must lie in 1..10")
    images = np.ascontiguousarray(images.transpose(3, 2, 0, 1))  # (n, 3, H, W)
    return Raw(images, labels.astype(np.int64) % 10, np.arange(len(labels)))


def _check_unpacked(content: bytes, limit: int) -> None:
    """The compressed elements of the file, unpacked, must not take more than `limit` bytes.

    A file is a header of 128 bytes, then elements: type and length as 32-bit numbers, then so many bytes. Type 15 is
    a zlib stream. Whatever is no such file is refused by scipy.
    """
    order = ">" if content[126:128] == b"MI" else "<"
    place = 128
    while place + 8 <= len(content):
        kind, length = struct.unpack(f"{order}II", content[place : place + 8])
        if kind == _COMPRESSED:
            limit -= _unpacked_size(content[place + 8 : place + 8 + length], limit)
        place += 8 + length


def _unpacked_size(packed: bytes, limit: int) -> int:
    engine, size = zlib.decompressobj(), 0
    try:
        while packed and not engine.eof:
            size += len(engine.decompress(packed, 1 << 20))
            packed = engine.unconsumed_tail
            if size > limit:
                raise ValueError("the MATLAB file unpacks to more than is allowed")
    except zlib.error as error:
        raise ValueError(f"a MATLAB file with X and y is needed: {error}") from None
    return size


def _find(folder: Path, part: str) -> bytes | None:
    path = first_file(folder, ("svhn", "SVHN"), (part,))
    return None if path is None else inputs.read(path, _LIMIT, f"the file {part}")


SVHN_FILES = Collection(
    name="svhn",
    title="SVHN (cropped digits)",
    licence="for non-commercial research",
    size="246 MB",
    parts={
        "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
    },
    find=_find,
    remotes=(Remote("address", "http://ufldl.stanford.edu/housenumbers/", tuple(_PARTS.values())),),
    note="Files you have: byrote data get svhn --folder FOLDER, or let BYROTE_DATA name the folder",
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
        return read_mat(SVHN_FILES.open((part,))[part])
