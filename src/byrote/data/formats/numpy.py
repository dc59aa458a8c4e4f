"""Read NumPy's `.npy` and `.npz` files: headers, sizes and checksums are checked first, and pickles are never
loaded."""

import io
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from byrote import inputs

__all__ = ["read_npy", "read_npz"]

Array = np.ndarray[Any, Any]
_HEAD = 1 << 17  # a header has at most 64 KiB
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError, TypeError),
    *(tokenize.TokenError, SyntaxError, OverflowError),  # characters of a header, which NumPy parses as Python code
)


class _Header(NamedTuple):
    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    fortran: bool
    begin: int  # the position where the numbers begin
    size: int  # the number of bytes that they take


def _header(stream: IO[bytes], length: int) -> _Header:
    """The header of a stored array, checked against the `length` of the whole array in bytes."""
    head = io.BytesIO(stream.read(min(length, _HEAD)))
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not known")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(head)
    if dtype.hasobject:
        raise ValueError(
            f"expected plain numbers or strings, got {dtype} (Python objects are pickles, which are never read): save "
            "it again with .astype(str), or as numbers"
        )
    if dtype.kind not in "biufcSU" or not dtype.itemsize:
        raise ValueError(f"expected plain numbers or strings, got {dtype}")
    size = dtype.itemsize
    for side in shape:
        if isinstance(side, bool) or side < 0:
            raise ValueError(f"its header announces the shape {shape}")
        size *= side
    if length != head.tell() + size:
        raise ValueError(
            f"its header announces {shape} of {dtype}, {inputs.in_words(size)}, but {length - head.tell()} bytes follow"
        )
    return _Header(dtype, shape, fortran, head.tell(), size)


def _array(content: bytes, header: _Header) -> Array:
    flat = np.frombuffer(content, header.dtype, offset=header.begin)
    return flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception from a damaged or hostile file into an error of one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (*_BROKEN, MemoryError) as error:
        reason = re.sub(r" at 0x[0-9a-f]+", "", next(iter(str(error).splitlines()), type(error).__name__))
        raise ValueError(f"{inputs.shown(path)} is not a complete {kind} file of plain arrays: {reason}") from None


def read_npz(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Array], list[str]]:
    """The arrays in an npz file that are among `names`, and the names of its other arrays.

    Raises:
        ValueError: not a complete npz file, a damaged array, Python objects (pickles), or more than fits in memory.
    """
    place = inputs.plain_file(path, "an npz file")
    headers: dict[str, _Header] = {}
    with _whole(path, "npz"), zipfile.ZipFile(place) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError("it contains two arrays with the same name")
        for name in filter(members.__contains__, names):
            with archive.open(members[name]) as stream:
                try:
                    headers[name] = _header(stream, members[name].file_size)
                except (ValueError, TypeError) as error:
                    raise ValueError(f"array {name!r}: {error}") from None
    inputs.fits(sum(header.size for header in headers.values()), f"the content of {inputs.shown(path)}")
    with _whole(path, "npz"), zipfile.ZipFile(place) as archive:  # reading a member to its end verifies its checksum
        arrays = {name: _array(archive.read(members[name]), header) for name, header in headers.items()}
    return arrays, sorted(members.keys() - arrays.keys())


def read_npy(path: Path) -> Array:
    """The array in an npy file.

    Raises:
        ValueError: not a complete npy file, Python objects (pickles), or more than fits in memory.
    """
    place = inputs.plain_file(path, "an npy file")
    length = place.stat().st_size
    with _whole(path, "npy"), place.open("rb") as stream:
        header = _header(stream, length)
    inputs.fits(header.size, f"the array in {inputs.shown(path)}")
    return _array(inputs.read(place, length), header)
