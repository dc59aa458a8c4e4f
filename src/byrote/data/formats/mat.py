"""Read MATLAB files of images and labels, such as SVHN's: check their size, then decode them with SciPy."""

import io
import struct
import zlib
from typing import Any, cast

import numpy as np

__all__ = ["read_mat"]

Array = np.ndarray[Any, Any]
_LIMIT = 1 << 29  # the file of SVHN's training set has 225 MB
_COMPRESSED = 15


def read_mat(content: bytes, limit: int = _LIMIT) -> tuple[Array, Array]:
    """Images (n, 3, H, W) uint8 and labels (n,) from the bytes of a file with X (H, W, 3, n) and y (n, 1).

    Args:
        content: the whole file.
        limit: the largest size, in bytes, to which the file may unpack.

    Raises:
        ValueError: not a file of this kind, or one that unpacks to more than `limit` bytes.
    """
    from scipy import io as matlab

    _check_unpacked(content, limit)
    try:
        stored = matlab.loadmat(cast(Any, io.BytesIO(content)), variable_names=["X", "y"])
        images, labels = np.asarray(stored["X"]), np.asarray(stored["y"]).ravel()
    except Exception as error:  # a damaged file can raise any exception
        raise ValueError(f"expected a MATLAB file with X and y: {error}") from None
    if images.ndim != 4 or images.shape[2] != 3 or images.dtype != np.uint8 or len(labels) != images.shape[3]:
        raise ValueError(f"expected X uint8 (H, W, 3, n) and n labels, got {images.shape} and {len(labels)} labels")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels


def _check_unpacked(content: bytes, limit: int) -> None:
    """Check that the compressed elements of the file unpack to at most `limit` bytes.

    A file is a header of 128 bytes followed by elements: type and length as 32-bit numbers, then the bytes. An element
    of type 15 is a zlib stream. SciPy refuses other files later.
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
                raise ValueError("the MATLAB file unpacks to more bytes than are allowed")
    except zlib.error as error:
        raise ValueError(f"expected a MATLAB file with X and y: {error}") from None
    return size
