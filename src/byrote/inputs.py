"""Read the user's files: only plain files are accepted, their size is limited, and changes during reading are detected.

A path is taken literally: none of its characters is read as part of a pattern, an address or a partition. A named pipe
or a device is refused before it is opened, because reading from it may never end.
"""

import csv
import glob
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

__all__ = [
    "Fingerprint",
    "available_memory",
    "content",
    "csv_names",
    "csv_source",
    "digest",
    "expanded",
    "fingerprint",
    "fits",
    "in_words",
    "is_folder",
    "plain_file",
    "quoted",
    "read",
    "shown",
    "stamp",
    "table_error",
    "table_name",
]

Fingerprint = tuple[str, int, int, int, int, int]
"""Path, device, inode, size, and the times of the last change to content and to status, in nanoseconds."""

_LINKS = "byrote-"  # prefix of the temporary folder for a link to a table
_HEADER = 1 << 24  # the most characters of a header line
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_YOUNG = 2_000_000_000  # ns: two writes within one tick of the file system's clock get the same time
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def expanded(path: str | Path) -> Path:
    """The path with `~` replaced by the home folder, if that home exists.

    >>> expanded("~nobody-of-this-name/a.csv").parts[0]
    '~nobody-of-this-name'
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def shown(path: str | Path) -> str:
    r"""The path for an error message, on one line.

    >>> print(shown("data/a.csv"), shown("two\nlines"))
    data/a.csv 'two\nlines'
    """
    return str(path) if str(path).isprintable() else repr(str(path))


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL character
        what = "only a broken link" if path.is_symlink() else "no file"
        raise FileNotFoundError(f"there is {what} at {shown(path)}") from None
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be read: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def plain_file(path: str | Path, needed: str = "a file") -> Path:
    """The expanded path, if a plain file (or a link to one) is there.

    Args:
        needed: the kind of file needed, for the error message.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a folder, a named pipe, a device or a socket is there.

    Example:
        >>> plain_file("/dev/null", "a table")
        Traceback (most recent call last):
        ValueError: expected a table, but /dev/null is a device
    """
    place = expanded(path)
    mode = _status(place).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"expected {needed}, but {shown(place)} is {_KINDS.get(stat.S_IFMT(mode), 'something else')}")
    return place


def is_folder(path: Path) -> bool:
    """Whether a folder, or a link to one, is there.

    Raises:
        ValueError: the path cannot be followed: no permission, a name too long.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be read: {_reason(error)}") from None


def read(path: str | Path, limit: int, needed: str = "a file") -> bytes:
    """The content of a plain file of at most `limit` bytes.

    Raises:
        FileNotFoundError, ValueError: see `plain_file`; also if the file is larger or cannot be read.
    """
    place = plain_file(path, needed)
    size = _status(place).st_size
    if size > limit:
        raise ValueError(f"expected {needed} of at most {in_words(limit)}, but {shown(place)} has {in_words(size)}")
    try:
        with place.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ValueError(f"{shown(place)} cannot be read: {_reason(error)}") from None


# -------------------------------------------------------------------------------------- files that change


def fingerprint(path: Path) -> Fingerprint:
    """A fingerprint that changes when a file is replaced, or is written to at least one clock tick later."""
    s = _status(path)
    return str(path), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns


def _young(mark: Fingerprint) -> bool:
    return time.time_ns() - max(mark[4:]) < _YOUNG  # a time in the future counts as recent, too


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, cached as long as the file does not change.

    Raises:
        FileNotFoundError, ValueError: see `plain_file`; also if the file changed while it was read.
    """
    mark = fingerprint(plain_file(path))
    return _fresh(mark) if _young(mark) else _digest(mark)


def _fresh(mark: Fingerprint) -> str:
    try:
        with Path(mark[0]).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{shown(mark[0])} cannot be read: {_reason(error)}") from None
    if fingerprint(Path(mark[0])) != mark:
        raise ValueError(f"{shown(mark[0])} changed while it was read; try again when no program is writing to it")
    return digest


_digest = lru_cache(maxsize=4096)(_fresh)


def stamp(files: Iterable[Path]) -> tuple[tuple[Fingerprint, str], ...]:
    """A value that differs whenever the content of one of the files differs.

    A file that changed a moment ago could change again and keep the same times, so its checksum is part of the value.
    """
    marks = [fingerprint(plain_file(path)) for path in files]
    return tuple((mark, _fresh(mark) if _young(mark) else "") for mark in marks)


def content(root: Path, files: Iterable[Path]) -> str:
    """Sixty-four hexadecimal digits that identify the content of files.

    If `root` itself is the only file, it is the SHA-256 of its bytes. Otherwise it is the SHA-256 over (path relative
    to `root`, SHA-256 of the bytes) of each file, sorted by path, so that it does not depend on the place of `root`.
    """
    files = list(files)
    if files == [root]:
        return digest(root)
    marks = tuple(fingerprint(plain_file(path)) for path in files)
    return _folder(root, marks) if any(map(_young, marks)) else _remembered_folder(root, marks)


def _folder(root: Path, marks: tuple[Fingerprint, ...]) -> str:
    base = root if root.is_dir() else root.parent
    names = {Path(os.path.relpath(mark[0], base)).as_posix(): Path(mark[0]) for mark in marks}
    state = hashlib.sha256()
    for name in sorted(names):
        state.update(os.fsencode(name) + b"\0" + digest(names[name]).encode() + b"\n")
    return state.hexdigest()


_remembered_folder = lru_cache(maxsize=16)(_folder)


# ------------------------------------------------------------------------------------------------- memory


def in_words(size: int) -> str:
    """A number of bytes in readable units.

    >>> in_words(3 << 29), in_words(5 << 20), in_words(700)
    ('1.5 GiB', '5.0 MiB', '700 bytes')
    """
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):,.1f} {unit}"
    return f"{size} bytes"


def available_memory() -> int:
    """Bytes of memory that are available now, in the system and within the limit of its container."""
    limits = []
    with suppress(OSError, ValueError):  # no container, or no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits.append(next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")))
    except (OSError, StopIteration):  # another system
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits)


def fits(size: int, what: str) -> None:
    """Check that `size` bytes fit into the available memory; called before anything is decoded.

    Raises:
        ValueError: they do not fit; the message gives both sizes.
    """
    free = available_memory()
    if size > free:
        raise ValueError(
            f"{what} would take {in_words(size)} of memory, but only {in_words(free)} are available: use fewer or "
            "smaller samples"
        )


# ------------------------------------------------------------------------------------------------- tables


@contextmanager
def table_name(path: Path) -> Iterator[str]:
    """A name under which DuckDB reads this file and no other.

    DuckDB may read a path as a pattern (`*`, `?`, `[`), an address (`file:`) or a partition (`label=3/`), splits it at
    backslashes, and rejects bytes that are not UTF-8. A link with a plain name avoids all of these.
    """
    with tempfile.TemporaryDirectory(prefix=_LINKS) as folder:
        link = Path(folder).resolve() / f"table{path.suffix.lower()}"
        link.symlink_to(path.absolute())
        yield glob.escape(str(link))


def csv_names(path: Path, separators: str = ",") -> tuple[list[str], str]:
    """The names in the header of a CSV file, and the one of the `separators` that is between them outside quotes.

    Raises:
        ValueError: no header, bytes that are not UTF-8, a broken quotation, or a repeated name.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(_HEADER)
            if not line.strip():
                what = "its first line is blank" if file.read(1) else "it is empty"
                raise ValueError(f"{what}, but a header with the names of the columns is expected")
            between = max(separators, key=_QUOTED.sub("", line).count)
            file.seek(0)
            names = next(csv.reader(file, delimiter=between, strict=True))
    except UnicodeDecodeError:
        raise ValueError("it is not written in UTF-8: save it as UTF-8") from None
    except csv.Error as error:
        raise ValueError(str(error)) from None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"its header has the column {twice!r} twice")
    return names, between


def quoted(text: str) -> str:
    """A string as an SQL literal.

    >>> print(quoted("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"


def csv_source(link: str, columns: int, between: str) -> str:
    """A CSV file with a header as an SQL source with text columns c0, c1, ...; no types are guessed."""
    types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(columns))
    dialect = f"delim='{between}', quote='\"', escape='\"', header=true, auto_detect=false, hive_partitioning=false"
    return f"read_csv({quoted(link)}, {dialect}, columns={{{types}}})"


def table_error(error: Exception, path: Path) -> str:
    """DuckDB's error about a file, on one line and with the file's own name."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "state machine reached an invalid state" in lines[0]:
        return r"its lines end in two ways, some with \r\n and some with \n: save it again with only one of them"
    reason = " ".join(lines[:3]) if "CSV Error" in lines[0] else lines[0]
    link = rf"[^'\"]*{re.escape(_LINKS)}\w+/table{re.escape(path.suffix.lower())}"
    return re.sub(link, lambda _: shown(path.name), reason)
