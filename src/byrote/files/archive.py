"""Unpack archives completely, within limits of size, and only inside the target folder."""

import gzip
import lzma
import secrets
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from byrote.files.atomic import DISK, put, write_error

__all__ = ["extract"]

_CHUNK = 1 << 18
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # zipfile raises it for an unsupported compression
    RuntimeError,  # zipfile raises it for an encrypted file
)


def extract(
    archive: str | Path, folder: str | Path, *, members: tuple[str, ...] = (), limit: int = 1 << 30
) -> list[Path]:
    """Unpack a zip or tar archive (with any compression that tarfile supports) into `folder`; returns the files
    written.

    Args:
        members: the names to extract, which must all be in the archive; empty extracts every regular file.
        limit: the largest total size of the extracted files in bytes; there may be at most 100,000 files.

    Raises:
        ValueError: not an archive, a broken archive, a member that is missing, would be outside the folder, or is not a
            plain file (a link, a device), or more than `limit` bytes. Then nothing is left in `folder`.
        WriteError: the disk is full or read-only.
    """
    archive, folder = Path(archive), Path(folder)
    partial = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        partial.mkdir(parents=True)
        names = _unpack(archive, partial, members, limit)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            put(partial / name, folder / name)
    except OSError as error:
        if error.errno in DISK:
            raise write_error(folder, error) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in names]


def _unpack(archive: Path, folder: Path, wanted: tuple[str, ...], limit: int) -> list[str]:
    names: dict[str, None] = {}  # in order
    left = limit
    try:
        for name, content in _members(archive, wanted):
            target = folder / _inside(archive, name)
            if name in names:
                raise ValueError(f"{archive} contains {name!r} twice")
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise ValueError(f"{archive} unpacks to more than the {limit} bytes that are allowed")
                    file.write(chunk)
            names[name] = None
            if len(names) > 100_000:
                raise ValueError(f"{archive} contains more than 100,000 files")
    except _BROKEN as error:
        raise ValueError(f"{archive} is not a complete archive: {error}") from None
    missing = set(wanted) - names.keys()
    if missing:
        raise ValueError(f"{archive} has no member {min(missing)!r}")
    return list(names)


def _members(archive: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and content of each regular file to extract."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if info.is_dir() or (wanted and info.filename not in wanted):
                    continue
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    raise ValueError(f"{archive}: member {info.filename!r} is not a plain file")
                yield info.filename, opened.open(info)
        return
    with tarfile.open(archive) as tape:
        for member in tape:
            if member.isdir() or (wanted and member.name not in wanted):
                continue
            content = tape.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(f"{archive}: member {member.name!r} is not a plain file")
            yield member.name, content


def _inside(archive: Path, name: str) -> str:
    """The member's name, after a check that it stays inside the target folder on every system."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ":" in name or ".." in parts or "\0" in name:
        raise ValueError(f"{archive}: member {name!r} would be unpacked outside the target folder")
    return name
