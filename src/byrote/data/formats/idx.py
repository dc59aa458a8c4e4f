"""The idx format, with or without gzip, in which MNIST and Fashion-MNIST are published.

An idx file consists of two zero bytes, a type byte (8: unsigned bytes), a byte with the number of dimensions, each
dimension as a big-endian 32-bit number, and then the values in C order.
"""

import struct
import zlib
from typing import Any

import numpy as np

__all__ = ["LIMIT", "read_idx", "unpacked"]

LIMIT = 1 << 28


def unpacked(content: bytes, limit: int = LIMIT) -> bytes:
    """The bytes; if they are a gzip file, they are unpacked to at most `limit` bytes."""
    if content[:2] != b"\x1f\x8b":
        return content
    engine = zlib.decompressobj(wbits=31)
    try:
        plain = engine.decompress(content, limit + 1)
    except zlib.error as error:
        raise ValueError(f"the gzip file is damaged: {error}") from None
    if len(plain) > limit:
        raise ValueError(f"the gzip file unpacks to more than the {limit} bytes that are allowed")
    if not engine.eof:
        raise ValueError("the gzip file is truncated")
    return plain


def read_idx(content: bytes) -> "np.ndarray[Any, Any]":
    """Decode the bytes of an idx file of unsigned bytes.

    Raises:
        ValueError: not idx, a different number type, or a number of bytes that contradicts the header.

    Example:
        >>> read_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9]))
        array([[7, 9]], dtype=uint8)
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"expected an idx file of unsigned bytes, got a file that begins {content[:4].hex()!r}")
    rank = content[3]
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    size = 1
    for length in shape:
        size *= length
    if len(content) != 4 + 4 * rank + size:
        raise ValueError(f"expected {4 + 4 * rank + size} bytes for an idx file of shape {shape}, got {len(content)}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
