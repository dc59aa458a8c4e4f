"""Parquet files as named columns: written completely, and read completely or one column at a time."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from byrote.table import Table

__all__ = ["Guard", "join_parquet", "lazy_table", "metadata_of", "read_many", "read_parquet", "write_parquet"]

Column = NDArray[Any]
Guard = Callable[[Callable[[], Any]], Any]
_SMALL = 4_000_000  # the most numbers in a table whose columns are read together: 32 MB
_TOGETHER = 500  # the most files that are read at once, because the reader keeps the footer of each file in memory
_DESCRIBED = "DESCRIBE SELECT * FROM read_parquet($files)"


def write_parquet(path: Path, columns: Mapping[str, Column], metadata: Mapping[str, str] | None = None) -> None:
    """Write columns of equal length as one Parquet file; the same columns and metadata give the same bytes.

    Args:
        path: the file.
        columns: values by name.
        metadata: texts by name, stored in the file next to its schema.
    """
    connection = _connection().cursor()
    try:
        connection.register("columns", dict(columns))
        connection.execute(f"COPY (SELECT * FROM columns) TO {_quoted(str(path))} ({_options(metadata or {})})")
    finally:
        connection.close()


def metadata_of(path: Path) -> dict[str, str]:
    """The strings stored in a Parquet file next to its schema.

    Raises:
        ValueError: the file is not readable Parquet.
    """
    rows = _fetch("SELECT key, value FROM parquet_kv_metadata($files)", [path]).fetchall()
    return {bytes(name).decode(): bytes(text).decode() for name, text in rows}


def read_parquet(path: Path) -> dict[str, Column]:
    """The columns of one Parquet file.

    Raises:
        ValueError: the file is not readable Parquet; the message names it.
    """
    columns = _fetch("SELECT * FROM read_parquet($files)", [path]).fetchnumpy()
    return {name: _plain(column) for name, column in columns.items()}


def read_many(paths: Sequence[Path]) -> Iterator[tuple[dict[str, Column], NDArray[np.int64]]]:
    """Read the columns of many Parquet files, several hundred files at a time.

    Yields:
        The columns (some may be missing in a file), and for each row the index of its file in `paths`.

    Raises:
        ValueError: a file is not readable Parquet; the message names it.
    """
    for start in range(0, len(paths), _TOGETHER):
        some = list(paths[start : start + _TOGETHER])
        columns = _fetch("SELECT * FROM read_parquet($files, union_by_name = true)", some).fetchnumpy()
        rows = _fetch("SELECT num_rows FROM parquet_file_metadata($files)", some).fetchnumpy()["num_rows"]
        places = np.repeat(np.arange(start, start + len(some), dtype=np.int64), np.asarray(rows, dtype=np.int64))
        yield {name: _plain(column) for name, column in columns.items()}, places


def join_parquet(target: Path, parts: Sequence[Sequence[Path]], metadata: Mapping[str, str]) -> None:
    """Write the rows of many files into one file as a stream, without holding all of them in memory.

    Args:
        target: the file to write. Its column `key` is the name of the folder that a row's file is in, unless that file
            has a column `key` itself.
        parts: files with the same columns, in sequences that are joined in order.
        metadata: texts by name, stored in the file next to its schema.

    Raises:
        ValueError: a file is not readable Parquet; the message names it.
    """
    queries, files = [], {}
    for number, paths in enumerate(parts):
        has_key = any(row[0] == "key" for row in _fetch(_DESCRIBED, [paths[0]]).fetchall())
        named = "*" if has_key else "parse_path(filename)[-2] AS key, * EXCLUDE filename"
        option = "" if has_key else ", filename = true"
        files[f"part{number}"] = [glob.escape(str(path)) for path in paths]
        queries.append(f"SELECT {named} FROM read_parquet($part{number}{option})")
    _fetch(
        f"COPY ({' UNION ALL BY NAME '.join(queries)}) TO {_quoted(str(target))} ({_options(metadata)})", [], **files
    )


def lazy_table(path: Path, guard: Guard) -> Table:
    """The table in one Parquet file; columns are read when they are first used.

    The numeric columns of a small table are read together, the columns of a large table one by one.

    Args:
        path: the file.
        guard: calls a function that reads the file, and raises an error if the file has changed since it was checked.

    Raises:
        ValueError: the file is not readable Parquet.
    """
    described = guard(lambda: _fetch(_DESCRIBED, [path]).fetchall())
    counted = guard(lambda: _fetch("SELECT count(*) FROM read_parquet($files)", [path]).fetchone())
    length = int(counted[0]) if counted else 0
    numbers = [row[0] for row in described if row[1] != "VARCHAR"]
    together = tuple(numbers) if length * len(numbers) <= _SMALL else ()
    reader = _Reader(path, together, guard)
    return Table.lazy({row[0]: partial(reader.column, row[0]) for row in described}, length)


class _Reader:
    """Reads the columns of one file on first use, and some of them together."""

    def __init__(self, path: Path, together: tuple[str, ...], guard: Guard) -> None:
        self._path, self._together, self._guard = path, together, guard
        self._read: dict[str, Column] = {}

    def column(self, name: str) -> Column:
        if name not in self._read:
            names = self._together if name in self._together else (name,)
            self._read |= self._columns(names)
            self._together = ()
        return self._read.pop(name)

    def _columns(self, names: tuple[str, ...]) -> dict[str, Column]:
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        query = f"SELECT {quoted} FROM read_parquet($files)"
        columns = self._guard(lambda: _fetch(query, [self._path]).fetchnumpy())
        return {name: _plain(column) for name, column in columns.items()}


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """A shared connection for reading, because opening a connection takes longer than reading a column."""
    return duckdb.connect(":memory:", config={"threads": 1})


def _options(metadata: Mapping[str, str]) -> str:
    """The options for writing a file, with which the same rows give the same bytes."""
    entries = ", ".join(f"{name}: {_quoted(text)}" for name, text in metadata.items())
    return "FORMAT parquet, COMPRESSION zstd" + (f", KV_METADATA {{{entries}}}" if entries else "")


def _fetch(query: str, paths: list[Path], **named: list[str]) -> duckdb.DuckDBPyConnection:
    files = {"files": [glob.escape(str(path)) for path in paths]} if paths else {}
    try:
        return _connection().cursor().execute(query, files | named)
    except duckdb.Error as error:
        line = str(error).splitlines()[0]
        raise ValueError(
            f"a result file is missing or damaged: {line}; delete the folder of its run, and start the same `byrote "
            "run` command again"
        ) from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(column: Column) -> Column:
    """A plain array in which masked values are NaN (numbers) or None (strings)."""
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    values, hidden = np.ma.getdata(column), np.ma.getmaskarray(column)
    if not hidden.any():
        return np.asarray(values)
    if values.dtype.kind in "iuf":
        return np.where(hidden, np.nan, values.astype(np.float64))
    text = values.astype(object)
    text[hidden] = None
    return text
