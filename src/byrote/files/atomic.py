"""Atomic writes: after a kill, on a full disk or without a connection, either the old file or the new file is there."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from byrote.files.place import on_this_machine
from byrote.files.process import signed

__all__ = [
    "DISK",
    "WriteError",
    "about_the_disk",
    "atomic",
    "create_atomic",
    "put",
    "sync",
    "sync_folder",
    "write_atomic",
    "write_error",
]

DISK = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM"),
        *("ENOTDIR", "EEXIST", "EISDIR", "ENAMETOOLONG"),
    )
    if hasattr(errno, name)  # not every system has a disk quota
}


class WriteError(OSError):
    """A file could not be written (full or read-only disk, no permission); no partial file is left."""

    def __str__(self) -> str:
        return str(self.strerror)


def about_the_disk(error: Exception, paths: tuple[Path, ...]) -> bool:
    """Whether an error means that one of these files cannot be written."""
    if isinstance(error, WriteError):
        return False
    if isinstance(error, OSError):
        named = None if error.filename is None else Path(os.fsdecode(error.filename))
        return error.errno in DISK and (named is None or named in paths)
    return _code(error) != errno.EIO  # from a library with its own error types, such as DuckDB


def _code(error: Exception) -> int:
    """The error number; if the error has none, the number of the system message in its text; otherwise EIO."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    return next((c for c in (errno.ENOSPC, errno.EROFS, errno.EACCES) if os.strerror(c) in text), errno.EIO)


def write_error(path: Path, error: Exception) -> WriteError:
    code = _code(error)
    return WriteError(code, f"{path} cannot be written ({os.strerror(code).lower()}); no partial file is left")


@contextmanager
def atomic(path: str | Path, *, durable: bool = True, parents: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; if the block ends without an error, that file becomes `path`.

    The temporary name starts with a dot, names this process, contains `.tmp` and keeps the suffix of `path`, since some
    writers depend on the suffix. The content is flushed to the disk (fsync) before the name changes, and the new name
    is flushed before the block returns.

    Args:
        durable: if False, fsync is not called. Then the file may be lost in a power failure, but every process still
            finds it complete or absent.
        parents: create the folder if it is missing.

    Raises:
        WriteError: the disk is full or read-only, or the folder cannot be written to; `path` is unchanged.
        ValueError: `path` is an address such as `s3://bucket/x`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [p.name for p in folder.iterdir()], (folder / "a.txt").read_text()
        (['a.txt'], 'whole')
    """
    path = on_this_machine(path)
    temporary = path.with_name(f".{path.stem[:100]}.{signed()}.tmp{path.suffix}")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            sync(temporary)
        put(temporary, path, durable)
    except Exception as error:
        if about_the_disk(error, (temporary, path, *path.parents)):
            raise write_error(path, error) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomic(path: str | Path, data: bytes | str, *, durable: bool = True, parents: bool = True) -> Path:
    """Write `data` (text as UTF-8, newlines unchanged) to `path`, completely or not at all; returns the path."""
    with atomic(path, durable=durable, parents=parents) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(path)


def create_atomic(path: Path, data: str) -> bool:
    """Write a new file, completely or not at all; if several processes try at once, one succeeds.

    On a file system without hard links, two processes that try within the same instant may both return True. The file
    then has the content of one of them.

    Args:
        path: the file, in a folder that exists.
        data: its content.

    Returns:
        False if the path already exists; then nothing is changed.

    Raises:
        WriteError: the disk is full or read-only, or the folder may not be written.
    """
    draft = path.with_name(f".{path.stem[:100]}.{signed()}.tmp{path.suffix}")
    try:
        write_atomic(draft, data, parents=False)
        try:
            os.link(draft, path)  # unlike a rename, a link never replaces a file
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            put(draft, path)
        sync_folder(path.parent)
        return True
    finally:
        with suppress(OSError):
            draft.unlink()


def sync(path: Path) -> None:
    """Flush a file's content to the disk."""
    with path.open("rb+") as written:
        os.fsync(written.fileno())


def put(source: Path, target: Path, durable: bool = True) -> None:
    """Rename over the target and, if `durable`, flush the rename to the disk."""
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
    if durable:
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    if os.name == "nt":  # pragma: no cover
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:  # some network file systems have no directory fsync
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)
