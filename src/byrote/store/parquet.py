"""Parquet files as named columns: written whole, read whole or a column at a time."""

import glob
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from byrote.table import Table

__all__ = ["lazy_table", "metadata_of", "read_parquet", "write_parquet"]

Column = NDArray[Any]
_SMALL = 4_000_000  # numbers in a table whose columns are read together: 32 MB


def write_parquet(path: Path, columns: Mapping[str, Column], metadata: Mapping[str, str] | None = None) -> None:
    """Write equally long columns as one Parquet file; the same columns and metadata give the same bytes.

    Args:
        path: the file.
        columns: values by name.
        metadata: texts by name, stored in the file beside its schema.
    """
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        connection.register("columns", dict(columns))
        entries = ", ".join(f"{name}: {_quoted(text)}" for name, text in (metadata or {}).items())
        stored = f", KV_METADATA {{{entries}}}" if entries else ""
        connection.execute(
            f"COPY (SELECT * FROM columns) TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd{stored})"
        )
    finally:
        connection.close()


def metadata_of(path: Path) -> dict[str, str]:
    """The texts stored in a Parquet file beside its schema.

    Raises:
        ValueError: the file is not readable Parquet.
    """
    rows = _fetch("SELECT key, value FROM parquet_kv_metadata($files)", [path]).fetchall()
    return {bytes(name).decode(): bytes(text).decode() for name, text in rows}


def read_parquet(paths: Path | list[Path]) -> dict[str, Column]:
    """Columns of one Parquet file, or of several one after another (then with a `filename` column).

    Raises:
        ValueError: a file that is not readable Parquet (names it).
    """
    named = ", filename = true" if isinstance(paths, list) else ""
    files = paths if isinstance(paths, list) else [paths]
    columns = _fetch(f"SELECT * FROM read_parquet($files, union_by_name = true{named})", files).fetchnumpy()
    return {name: _plain(column) for name, column in columns.items()}


def lazy_table(path: Path) -> Table:
    """The table of one Parquet file; columns are read when they are first asked for.

    Of a small table all columns of numbers are read together, of a large one each by itself.

    Raises:
        ValueError: a file that is not readable Parquet.
    """
    described = _fetch("DESCRIBE SELECT * FROM read_parquet($files)", [path]).fetchall()
    counted = _fetch("SELECT count(*) FROM read_parquet($files)", [path]).fetchone()
    length = int(counted[0]) if counted else 0
    numbers = [row[0] for row in described if row[1] != "VARCHAR"]
    together = tuple(numbers) if length * len(numbers) <= _SMALL else ()
    reader = _Reader(path, together)
    return Table.lazy({row[0]: partial(reader.column, row[0]) for row in described}, length)


class _Reader:
    """Reads columns of one file, some of them all at once."""

    def __init__(self, path: Path, together: tuple[str, ...]) -> None:
        self._path, self._together = path, together
        self._read: dict[str, Column] = {}

    def column(self, name: str) -> Column:
        if name not in self._read:
            names = self._together if name in self._together else (name,)
            self._read |= self._columns(names)
            self._together = ()
        return self._read.pop(name)

    def _columns(self, names: tuple[str, ...]) -> dict[str, Column]:
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        columns = _fetch(f"SELECT {quoted} FROM read_parquet($files)", [self._path]).fetchnumpy()
        return {name: _plain(column) for name, column in columns.items()}


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """One connection for all reading: to open one takes longer than to read a column."""
    return duckdb.connect(":memory:", config={"threads": 1})


def _fetch(query: str, paths: list[Path]) -> duckdb.DuckDBPyConnection:
    files = [glob.escape(str(path)) for path in paths]
    try:
        return _connection().cursor().execute(query, {"files": files})
    except duckdb.Error as error:
        line = str(error).splitlines()[0]
        raise ValueError(
            f"a result file is missing or damaged: {line}; delete that run's folder and run again"
        ) from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(column: Column) -> Column:
    """Masked values as NaN (numbers) or None (text), as a plain array."""
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
