"""Read plain PNG files (8 bits, gray or RGB, not interlaced), which is enough for images packed into one large PNG.

Header, size and checksums are checked here. Then Pillow decodes the file if it is installed, which is hundreds of times
faster. A plain `pip install byrote` does not install Pillow; without it, the rows are decoded here.
"""

import io
import struct
import zlib
from typing import Any

import numpy as np

__all__ = ["read_png"]

_LIMIT = 1 << 28


def read_png(content: bytes) -> "np.ndarray[Any, Any]":
    """Decode a PNG to uint8 (H, W, C).

    Each row is stored as a difference from its neighbors; the row's first byte encodes which neighbor: 0 none, 1 the
    pixel to the left, 2 the pixel above, 3 their mean, 4 Paeth's predictor (PNG specification, section 9).

    Raises:
        ValueError: not a PNG of this kind, or a damaged PNG.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("expected a PNG file")
    chunks = _chunks(content)
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = {0: 1, 2: 3}.get(color)
    if depth != 8 or channels is None or interlaced:
        raise ValueError("only 8-bit gray or RGB PNG files without interlacing are supported")
    size = height * (1 + width * channels)
    if not 0 < size <= _LIMIT:
        raise ValueError(f"a PNG may unpack to at most {_LIMIT} bytes, got {size}")
    plain = _inflated(chunks[b"IDAT"], size)
    decoded = _by_pillow(content, (height, width, channels))
    if decoded is not None:
        return decoded
    lines = np.frombuffer(plain, np.uint8).reshape(height, 1 + width * channels)
    return _unfiltered(lines[:, 0], lines[:, 1:].reshape(height, width, channels))


def _inflated(packed: bytes, size: int) -> bytes:
    """The stored rows, decompressed, which must be exactly `size` bytes."""
    engine = zlib.decompressobj()
    try:
        plain = engine.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"the PNG file is damaged: {error}") from None
    if len(plain) != size:
        raise ValueError("the PNG file is damaged: its number of pixels differs from its header")
    return plain


def _by_pillow(content: bytes, shape: tuple[int, int, int]) -> "np.ndarray[Any, Any] | None":
    """The pixels; None if Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return np.asarray(image).reshape(shape).copy()
    except Exception as error:  # Pillow raises many types of errors
        raise ValueError(f"the PNG file is damaged: {error}") from None


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks by type, with chunks of the same type joined and all checksums checked."""
    parts: dict[bytes, list[bytes]] = {}
    place = 8
    while b"IEND" not in parts:
        if place + 12 > len(content):
            raise ValueError("the PNG file is truncated")
        length, name = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + length]
        check = content[place + 8 + length : place + 12 + length]
        if len(check) != 4 or zlib.crc32(name + body) != struct.unpack(">I", check)[0]:
            raise ValueError(f"the PNG file is damaged in its part {name!r}")
        parts.setdefault(name, []).append(body)
        place += 12 + length
    joined = {name: b"".join(bodies) for name, bodies in parts.items()}
    if len(joined.get(b"IHDR", b"")) != 13 or b"IDAT" not in joined:
        raise ValueError("the PNG file has no header or no pixels")
    return joined


def _unfiltered(filters: "np.ndarray[Any, Any]", stored: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Undo the differences: add the neighbors back to each row; `stored` is (H, W, C)."""
    out = np.empty_like(stored)
    above = np.zeros_like(stored[0])  # (W, C)
    for row, (kind, line) in enumerate(zip(filters.tolist(), stored, strict=True)):
        if kind == 0:
            out[row] = line
        elif kind == 1:
            np.cumsum(line, axis=0, dtype=np.uint8, out=out[row])
        elif kind == 2:
            np.add(line, above, out=out[row])
        elif kind in (3, 4):
            out[row] = _sequential(kind, line, above)
        else:
            raise ValueError(f"the PNG file is damaged: row {row} has filter {kind}")
        above = out[row]
    return out


def _sequential(kind: int, line: "np.ndarray[Any, Any]", above: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Decode a row in which every pixel needs the pixel before it: the mean (3) or Paeth's predictor (4)."""
    out = np.empty_like(line)
    left, corner = np.zeros(line.shape[1], int), np.zeros(line.shape[1], int)
    for column, (value, up) in enumerate(zip(line.astype(int), above.astype(int), strict=True)):
        if kind == 3:
            guess = (left + up) // 2
        else:
            estimate = left + up - corner
            distance = np.abs(np.stack([left, up, corner]) - estimate)
            guess = np.choose(distance.argmin(axis=0), [left, up, corner])  # in a tie the order is left, above, corner
        left, corner = (value + guess) % 256, up
        out[column] = left
    return out
