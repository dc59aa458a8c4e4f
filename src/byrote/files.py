"""Files that are whole or absent: atomic writes, checksums, downloads, archives.

Everything another part writes goes through `atomic`, so that a kill, a full disk or a lost connection leaves
either the old file or the new one. Everything that comes from outside (archive, download) is bounded
and checked here before it is used.
"""

import errno
import gzip
import hashlib
import http.client
import lzma
import os
import secrets
import shutil
import stat
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

__all__ = [
    "DataUnavailableError",
    "Progress",
    "WriteError",
    "atomic",
    "cache_folder",
    "download",
    "extract",
    "md5",
    "sha256",
    "verify",
    "write_atomic",
]

Progress = Callable[[str, int, int | None], None]
"""What a download reports: name, bytes so far, bytes in all (None: the server did not say)."""

_CHUNK = 1 << 18
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression zipfile does not know
    RuntimeError,  # an encrypted zip
)
_DISK = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM"),
        *("ENOTDIR", "EEXIST", "EISDIR", "ENAMETOOLONG"),
    )
    if hasattr(errno, name)  # not every system has a disk quota
}


class DataUnavailableError(FileNotFoundError):
    """Files are not on this machine and could not be fetched; the message says what was tried or what to do."""


class WriteError(OSError):
    """A file could not be written (full or read-only disk, no permission); nothing half-written is left."""

    def __str__(self) -> str:
        return str(self.strerror)


def _about_the_disk(error: Exception, paths: tuple[Path, ...]) -> bool:
    """Whether an error says that one of these files cannot be written."""
    if isinstance(error, WriteError):
        return False
    if isinstance(error, OSError):
        named = None if error.filename is None else Path(os.fsdecode(error.filename))
        return error.errno in _DISK and (named is None or named in paths)
    return _code(error) != errno.EIO  # a writer with errors of its own, such as DuckDB


def _code(error: Exception) -> int:
    """The error number, read off the system's own words where the error has none; EIO for any other."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    return next((c for c in (errno.ENOSPC, errno.EROFS, errno.EACCES) if os.strerror(c) in text), errno.EIO)


def _write_error(path: Path, error: Exception) -> WriteError:
    code = _code(error)
    return WriteError(code, f"{path} cannot be written ({os.strerror(code).lower()}); nothing half-written was left")


# ---------------------------------------------------------------------------------------- atomic writes


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; when the block ends well, it becomes `path`.

    The temporary name starts with a dot, contains `.tmp` and keeps the suffix, since some writers look at it.
    The content is on the disk (fsync) before the name changes, and the name before the block returns.

    Raises:
        WriteError: the disk is full or read-only, or the folder may not be written; `path` is as it was.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [p.name for p in folder.iterdir()], (folder / "a.txt").read_text()
        (['a.txt'], 'whole')
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        _replace(temporary, path)
    except Exception as error:
        if _about_the_disk(error, (temporary, path, *path.parents)):
            raise _write_error(path, error) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Write `data` (text as UTF-8, newlines as they are) to `path`, whole or not at all; gives the path."""
    with atomic(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(path)


def _replace(source: Path, target: Path) -> None:
    """Rename over the target and make the rename last."""
    if os.name == "nt":  # pragma: no cover - a reader that holds the target open makes the rename fail
        for wait in (0.01, 0.05, 0.2, 0.5):
            try:
                source.replace(target)
                return
            except PermissionError:
                time.sleep(wait)
        source.replace(target)
        return
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:  # some network file systems have no directory fsync
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(folder)


# -------------------------------------------------------------------------------------------- checksums


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: str | Path) -> str:
    """The MD5 of a file as hexadecimal digits: what the publishers of the data sets printed."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def verify(path: str | Path, check: str) -> None:
    """The file must have the checksum `check`, written "md5:..." or "sha256:...".

    Raises:
        ValueError: another checksum, with both.
    """
    name, _, wanted = check.partition(":")
    if name not in ("md5", "sha256"):
        raise ValueError(f"a check reads 'md5:...' or 'sha256:...', got {check!r}")
    found = (md5 if name == "md5" else sha256)(path)
    if found != wanted:
        raise ValueError(f"{path} is damaged or another file: {name} {wanted} is needed, got {found}")


def cache_folder() -> Path:
    """Where fetched files are kept: $BYROTE_CACHE, else the platform's cache folder; not created here."""
    if named := os.environ.get("BYROTE_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":  # pragma: no cover
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "byrote" / "cache"
    if sys.platform == "darwin":  # pragma: no cover
        return Path.home() / "Library" / "Caches" / "byrote"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "byrote"


# -------------------------------------------------------------------------------------------- downloads


def download(
    url: str,
    path: str | Path,
    check: str | None = None,
    *,
    progress: Progress | None = None,
    limit: int = 1 << 30,
    timeout: float = 30.0,
) -> Path:
    """Fetch `url` into `path` unless a file with the right checksum is there already; gives the path.

    Args:
        check: "md5:..." or "sha256:..." of the content; None checks only that it arrived whole.
        progress: called with (file name, bytes so far, bytes in all or None).
        limit: most bytes accepted.
        timeout: seconds to wait for the server.

    Raises:
        ValueError: not an http(s) address, more than `limit` bytes, or another checksum.
        ConnectionError: the address cannot be reached, refuses, or breaks off.
        WriteError: the disk is full or read-only.
    """
    path = Path(path)
    if check is not None and path.is_file():
        try:
            verify(path, check)
            return path
        except ValueError:
            pass  # fetched anew below
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"a download needs an http(s) address, got {url!r}")
    with atomic(path) as temporary:
        try:
            with (
                urllib.request.urlopen(url, timeout=timeout) as answer,
                temporary.open("wb") as file,
            ):
                length = answer.headers.get("Content-Length", "")
                _receive(answer, file, url, path.name, int(length) if length.isdigit() else None, progress, limit)
        except urllib.error.URLError as error:  # a refused request too
            raise ConnectionError(f"{url} cannot be fetched: {error.reason}") from None
        except (http.client.HTTPException, ConnectionResetError) as error:
            raise ConnectionError(f"{url} broke off: {error!r}") from None
        except TimeoutError:
            raise ConnectionError(f"{url} did not answer within {timeout:g} s") from None
        if check is not None:
            verify(temporary, check)
    return path


def _receive(
    answer: IO[bytes],
    file: IO[bytes],
    url: str,
    name: str,
    total: int | None,
    progress: Progress | None,
    limit: int,
) -> None:
    """Copy an answer's body, counting: not more than `limit`, not less than announced."""
    done = 0
    while done <= limit and (chunk := answer.read(_CHUNK)):
        done += len(chunk)
        file.write(chunk)
        if progress is not None:
            progress(name, done, total)
    if done > limit:
        raise ValueError(f"{url} sends more than the {limit} bytes that are allowed")
    if total is not None and done != total:
        raise ConnectionError(f"{url} broke off after {done} of {total} bytes")


# --------------------------------------------------------------------------------------------- archives


def extract(
    archive: str | Path, folder: str | Path, *, members: tuple[str, ...] = (), limit: int = 1 << 30
) -> list[Path]:
    """Unpack a zip or tar archive (any compression tar knows) into `folder`; gives the files written.

    Args:
        members: names in the archive to take; empty takes every regular file. Each must be there.
        limit: most bytes that all taken files together may unpack to, and at most 100,000 of them.

    Raises:
        ValueError: not an archive or a broken one, a member that is missing, leaves the folder or is not a
            plain file (a link, a device), or more than `limit` bytes. Nothing is left in `folder` then.
        WriteError: the disk is full or read-only.
    """
    archive, folder = Path(archive), Path(folder)
    partial = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        partial.mkdir(parents=True)
        names = _unpack(archive, partial, members, limit)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _replace(partial / name, folder / name)
    except OSError as error:
        if error.errno in _DISK:
            raise _write_error(folder, error) from error
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
                raise ValueError(f"{archive} holds {name!r} twice")
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise ValueError(f"{archive} unpacks to more than the {limit} bytes that are allowed")
                    file.write(chunk)
            names[name] = None
            if len(names) > 100_000:
                raise ValueError(f"{archive} holds more than 100,000 files")
    except _BROKEN as error:
        raise ValueError(f"{archive} is not a whole archive: {error}") from None
    missing = set(wanted) - names.keys()
    if missing:
        raise ValueError(f"{archive} has no member {min(missing)!r}")
    return list(names)


def _members(archive: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file that is wanted, one at a time."""
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
    """The member's name, if it stays inside the folder it is unpacked to on every system."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ":" in name or ".." in parts or "\0" in name:
        raise ValueError(f"{archive}: member {name!r} would leave the folder it is unpacked to")
    return name
