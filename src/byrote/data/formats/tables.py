"""CSV and Parquet tables: every cell is checked before numbers are read.

A CSV file has a header; the character that separates the names in it, outside quotes, also separates the cells. Nothing
else is guessed: cells are read as strings, and a column is numeric if every cell in it is a number.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byrote import inputs
from byrote.data.formats.labels import MISSING

if TYPE_CHECKING:
    import duckdb

__all__ = ["Column", "Table", "open_table"]

_MISSING = ", ".join(f"'{text}'" for text in sorted(MISSING))
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS = frozenset((*_WHOLE, *(f"U{kind}" for kind in _WHOLE), "FLOAT", "DOUBLE", "DECIMAL"))


class Column(NamedTuple):
    """Counts of the kinds of cells in a column."""

    missing: int  # blank, NaN, or a word for a missing value
    numbers: int  # finite numbers
    truths: int  # true or false
    other: int  # strings, infinities, lists


class Table:
    """An open table, with its columns by their names in the header.

    DuckDB does not distinguish "a" and "A", so in its queries the columns are called c0, c1, ...

    Args:
        index: the columns that pandas wrote as the index of a data frame, according to the file's metadata.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        source: str,
        names: list[str],
        index: frozenset[str] = frozenset(),
    ) -> None:
        self._connection, self._source, self.index = connection, source, index
        kinds = [str(row[1]).upper() for row in self._ask(f"DESCRIBE SELECT * FROM {source}")]
        self.types = dict(zip(names, kinds, strict=True))
        self._place = {name: f"c{place}" for place, name in enumerate(names)}
        self.rows = int(self._ask(f"SELECT count(*) FROM {source}")[0][0])

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def _parts(self, name: str) -> tuple[str, str, str]:
        """SQL expressions for a cell: whether it is missing, its number (or NULL), its truth value (or NULL)."""
        cell, kind = self._place[name], self.types[name]
        if kind.startswith(("VARCHAR", "ENUM")):
            text = f"trim(CAST({cell} AS VARCHAR))"
            truth = f"CASE lower({text}) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 END"
            number = f"CASE WHEN NOT contains({text}, '_') THEN try_cast({text} AS DOUBLE) END"  # 1_2 is not a number
            return f"({cell} IS NULL OR {text} IN ({_MISSING}))", f"({number})", truth
        if kind == "BOOLEAN":
            return f"({cell} IS NULL)", "NULL::DOUBLE", f"CAST({cell} AS DOUBLE)"
        if not kind.endswith("]") and kind.partition("(")[0] in _NUMBERS:
            number = f"CAST({cell} AS DOUBLE)"
            return f"({cell} IS NULL OR isnan({number}))", number, "NULL::DOUBLE"
        return f"({cell} IS NULL)", "NULL::DOUBLE", "NULL::DOUBLE"

    def count(self, name: str) -> Column:
        """Counts of the kinds of cells in a column, by name."""
        missing, number, truth = self._parts(name)
        ((lost, finite, truths),) = self._ask(
            f"SELECT count(*) FILTER (WHERE {missing}), count(*) FILTER (WHERE NOT {missing} AND isfinite({number})), "
            f"count(*) FILTER (WHERE NOT {missing} AND {truth} IS NOT NULL) FROM {self._source}"
        )
        return Column(lost, finite, truths, self.rows - lost - finite - truths)

    def first(self, name: str, which: str) -> tuple[int, str]:
        """The row (counted from 1 after the header) and the text of the first cell that is "missing" or not a
        "number"."""
        missing, number, _ = self._parts(name)
        number_here = f"coalesce(isfinite({number}), false)"
        condition = missing if which == "missing" else f"NOT {missing} AND NOT {number_here}"
        inside = f"SELECT row_number() OVER () AS row, * FROM {self._source}"
        row, cell = self._ask(
            f"SELECT row, CAST({self._place[name]} AS VARCHAR) FROM ({inside}) WHERE {condition} ORDER BY row LIMIT 1"
        )[0]
        return int(row), "" if cell is None else str(cell)

    def first_like(self, name: str, pattern: str) -> tuple[int, str] | None:
        """The row and the text of the first cell that matches a regular expression; None if no cell does."""
        cell = f"trim(CAST({self._place[name]} AS VARCHAR))"
        inside = f"SELECT row_number() OVER () AS row, {cell} AS cell FROM {self._source}"
        query = f"SELECT row, cell FROM ({inside}) WHERE regexp_full_match(cell, ?) ORDER BY row LIMIT 1"
        match = self._connection.execute(query, [pattern]).fetchone()
        return None if match is None else (int(match[0]), str(match[1]))

    def cells(self, name: str) -> list[Any]:
        """The cells of one column as Python values; None for a cell without a value."""
        kind = self.types[name]
        cell = f"CAST({self._place[name]} AS VARCHAR)" if kind.startswith("ENUM") else self._place[name]
        return [row[0] for row in self._ask(f"SELECT {cell} FROM {self._source}")]

    def texts(self, rows: Sequence[int], length: int) -> dict[int, dict[str, str]]:
        """Rows as strings, by row (from 0) and by the name of the column; "" stands for a missing value.

        Args:
            rows: the rows to read.
            length: the most characters to take from a cell.
        """
        cells = ", ".join(f"substr(CAST({place} AS VARCHAR), 1, {int(length)})" for place in self._place.values())
        inside = f"SELECT row_number() OVER () - 1 AS row, * FROM {self._source}"
        wanted = ", ".join(str(int(row)) for row in rows) or "-1"
        answer = self._ask(f"SELECT row, {cells} FROM ({inside}) WHERE row IN ({wanted})")
        return {
            int(row): {name: "" if cell is None else cell for name, cell in zip(self.types, values, strict=True)}
            for row, *values in answer
        }

    def numbers(self, names: list[str]) -> "np.ndarray[Any, Any]":
        """Columns as float64 (n, d), NaN where a cell is not a number."""
        return self._values([self._parts(name)[1] for name in names])

    def truths(self, names: list[str]) -> "np.ndarray[Any, Any]":
        """Columns as float64 (n, d), 1 for true, 0 for false, NaN where a cell is neither."""
        return self._values([self._parts(name)[2] for name in names])

    def _values(self, columns: list[str]) -> "np.ndarray[Any, Any]":
        inputs.fits(20 * self.rows * len(columns), f"{self.rows} rows of {len(columns)} columns")
        values = np.empty((self.rows, len(columns)))
        if columns:
            query = ", ".join(f"{value} AS v{place}" for place, value in enumerate(columns))
            stored = self._connection.execute(f"SELECT {query} FROM {self._source}").fetchnumpy()
            for place in range(len(columns)):
                values[:, place] = np.ma.filled(stored[f"v{place}"], np.nan)
        return values


def _csv(path: Path, link: str) -> tuple[str, list[str]]:
    """A CSV file as an SQL source, and the names of its columns."""
    names, between = inputs.csv_names(path, ",;\t|")
    return inputs.csv_source(link, len(names), between), names


def _parquet(connection: "duckdb.DuckDBPyConnection", link: str) -> tuple[str, list[str]]:
    """A Parquet file as an SQL source, and the names of its columns."""
    source = f"read_parquet({inputs.quoted(link)}, hive_partitioning=false)"
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    return f"{source} AS stored({', '.join(f'c{place}' for place in range(len(names)))})", names


def _index(connection: "duckdb.DuckDBPyConnection", link: str) -> frozenset[str]:
    """The columns of a Parquet file that pandas wrote as the index of a data frame, according to the file's
    metadata."""
    query = f"SELECT value FROM parquet_kv_metadata({inputs.quoted(link)}) WHERE key = 'pandas'"
    row = connection.execute(query).fetchone()
    try:
        columns = json.loads(row[0])["index_columns"] if row else []
        return frozenset(name for name in columns if isinstance(name, str))  # a range index is not stored as a column
    except (ValueError, TypeError, KeyError):
        return frozenset()


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """A CSV or Parquet file as a table; every failure raises an error of one sentence.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown suffix, not a plain file, or not a complete table.
    """
    import duckdb

    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise ValueError(f"the name of a table must end in .csv or .parquet, got {inputs.shown(path.name)}")
    place = inputs.plain_file(path, "a table")
    try:
        with inputs.table_name(place) as link, duckdb.connect() as connection:
            try:
                source, names = _csv(place, link) if kind == ".csv" else _parquet(connection, link)
            except (ValueError, OSError) as error:
                raise ValueError(f"{inputs.shown(path)} is not a complete table: {error}") from None
            yield Table(connection, source, names, frozenset() if kind == ".csv" else _index(connection, link))
    except duckdb.Error as error:
        raise ValueError(f"{inputs.shown(path)} is not a complete table: {inputs.table_error(error, place)}") from None
