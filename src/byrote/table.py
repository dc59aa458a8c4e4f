"""A frozen table of named columns: the history of a run, of an observer and of a store.

It can be converted to a pandas or polars frame or a DuckDB relation. A column may be given as a function that is called
when the column is first read, so that a large file costs only the columns that are used.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from byrote.checks import require
from byrote.component import did_you_mean

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars

__all__ = ["Column", "Table"]

Column = NDArray[Any]
_ROWS, _WIDTH, _CELL = 10, 110, 20  # limits of a displayed table: rows, characters per line, characters per value
_LINE = 60  # the most characters of a value that a notebook keeps on one line


def _column(values: object) -> Column:
    """One read-only column: strings as objects, absent numbers as NaN, absent strings as ''."""
    if isinstance(values, np.ma.MaskedArray):
        values = [None if hidden else value for value, hidden in _unmasked(values)]
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"a column must be one-dimensional, got shape {array.shape}")
    if array.dtype.kind in "OUS":
        array = _of_objects(list(array))
    array = array.view()
    array.setflags(write=False)
    return array


def _unmasked(values: np.ma.MaskedArray[Any, Any]) -> Iterator[tuple[Any, bool]]:
    return zip(np.ma.getdata(values), np.ma.getmaskarray(values), strict=True)


def _of_objects(values: list[Any]) -> Column:
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        text = np.empty(len(values), dtype=object)
        text[:] = ["" if value is None else str(value) for value in values]
        return text
    if len(present) < len(values):
        return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)
    return np.array(values, dtype=None if values else np.float64)


def _equals(column: Column, value: object) -> NDArray[np.bool_]:
    """Equality for the conditions of `where`: floats are compared to nine digits; None and NaN match absent values."""
    if isinstance(value, (tuple, list, set, frozenset)):
        mask = np.zeros(len(column), dtype=bool)
        for one in value:
            mask |= _equals(column, one)
        return mask
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    if column.dtype.kind == "O":
        return np.asarray(column == ("" if absent else value), dtype=bool)
    if absent:
        return np.asarray(np.isnan(column)) if column.dtype.kind == "f" else np.zeros(len(column), dtype=bool)
    if isinstance(value, str):
        return np.zeros(len(column), dtype=bool)
    if column.dtype.kind == "f":
        return np.asarray(np.isclose(column, float(value), rtol=1e-9, atol=1e-12))  # type: ignore[arg-type]
    return np.asarray(column == value, dtype=bool)


class Table:
    """Columns of equal length, one row per run and evaluated epoch.

    Claims, figures and reports depend on numbers alone; a plain table keeps them independent of the store, of torch and
    of each other. Columns are read-only; every method returns a new table. Strings are objects, an absent number is
    NaN, an absent string is ''.

    Args:
        columns: name -> values, all of equal length; numbers in arrays are not copied. Masked entries and None count as
            absent. `Table.lazy` takes functions that return the values.

    Raises:
        ValueError: unequal lengths, or a column that is not one-dimensional.

    Example:
        >>> table = Table({"key": ["a", "a", "b"], "epoch": [1, 2, 2], "j1": [0.5, 0.9, 0.8]})
        >>> table.where(key="a").final()["j1"]
        array([0.9])
        >>> [(values, len(rows)) for values, rows in table.groups("key")]
        [(('a',), 2), (('b',), 1)]
        >>> table
        Table of 3 rows and 3 columns
        key  epoch   j1
          a      1  0.5
          a      2  0.9
          b      2  0.8
    """

    __slots__ = ("_columns", "_length")
    __iter__ = None  # not iterable, because rows or columns could be meant: use `rows()` or `columns`
    _columns: dict[str, Column | Callable[[], object]]

    def __init__(self, columns: Mapping[str, object]) -> None:
        arrays = {str(name): _column(values) for name, values in columns.items()}
        lengths = {name: len(column) for name, column in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"expected columns of equal length, got {lengths}")
        self._columns = dict(arrays)
        self._length = next(iter(lengths.values()), 0)

    @classmethod
    def lazy(cls, columns: Mapping[str, Callable[[], object]], length: int) -> Table:
        """A table of `length` rows whose columns are read on first use.

        >>> Table.lazy({"j1": lambda: [0.5, 0.9]}, 2)["j1"]
        array([0.5, 0.9])
        """
        table = cls.__new__(cls)
        table._columns, table._length = dict(columns), length
        return table

    @classmethod
    def _checked(cls, columns: Mapping[str, Column | Callable[[], object]], length: int) -> Table:
        """A table of columns that come from another table and need no check."""
        table = cls.__new__(cls)
        table._columns, table._length = dict(columns), length
        return table

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, object]]) -> Table:
        """A table made from rows; a column that is missing in a row has an absent value there (NaN or '')."""
        names = dict.fromkeys(name for row in rows for name in row)
        return cls({name: _of_objects([row.get(name) for row in rows]) for name in names})

    @classmethod
    def concat(cls, tables: Sequence[Table]) -> Table:
        """The rows of all tables in turn; a column that is missing in a table has absent values in its rows."""
        parts = [table for table in tables if table.columns]
        names = dict.fromkeys(name for table in parts for name in table.columns)
        if all(set(table.columns) == set(names) for table in parts):
            return cls({name: _joined([table[name] for table in parts]) for name in names})
        return cls({name: _of_objects([v for t in parts for v in t._values(name)]) for name in names})

    def _values(self, name: str) -> list[Any]:
        return list(self[name]) if name in self._columns else [None] * len(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self._columns)

    @property
    def runs(self) -> int:
        """How many distinct runs (values of `key`) the rows come from."""
        return len(set(self["key"])) if len(self) else 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        self._known(name)
        column = self._columns[name]
        if callable(column):
            values = column()
            ready = isinstance(values, np.ndarray) and not values.flags.writeable  # the column comes from another table
            column = values if isinstance(values, np.ndarray) and ready else _column(values)
            if len(column) != self._length:
                raise ValueError(f"column {name!r} needs {self._length} values, got {len(column)}")
            self._columns[name] = column
        return column

    def __eq__(self, other: object) -> bool:
        """Same columns, in any order, with the same values (NaN equals NaN)."""
        if not isinstance(other, Table):
            return NotImplemented
        return set(self.columns) == set(other.columns) and all(
            np.array_equal(self[name], other[name], equal_nan=self[name].dtype.kind == "f") for name in self.columns
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """The first and the last rows, with the columns that fit into a line."""
        half = _ROWS // 2
        long = len(self) > _ROWS
        places = [*range(half), *range(len(self) - half, len(self))] if long else list(range(len(self)))
        head = f"Table of {len(self)} row{'s' * (len(self) != 1)} and {len(self.columns)} columns"
        shown: list[list[str]] = []
        for name in self.columns:
            values = [name, *(_in_short(self[name][place]) for place in places)]
            size = max(map(len, values))
            if shown and sum(len(column[0]) + 2 for column in shown) + size > _WIDTH:
                head += f", of which {len(shown)} are shown"
                break
            shown.append([value.rjust(size) for value in values])
        lines = ["  ".join(row) for row in zip(*shown, strict=True)]
        return "\n".join([head, *lines[: half + 1], *["..."] * long, *lines[half + 1 :]])

    def _repr_html_(self) -> str:
        """The notebook view of the first rows; text and lines have the color of the notebook."""
        shown = self.take(np.arange(min(len(self), _ROWS)))
        cell = "padding:.15em .6em;color:inherit;background:none;text-align"
        head = "".join(
            f'<th style="{cell}:{"left" if shown[name].dtype.kind == "O" else "right"}">{html.escape(name)}</th>'
            for name in shown.columns
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td style="{cell}:{_side(v)}{_unbroken(v)}">{html.escape(_words(v))}</td>' for v in row.values()
            )
            + "</tr>"
            for row in shown.rows()
        )
        more = f"the first {len(shown):,} of " if len(shown) < len(self) else ""
        size = f"<small>{more}{len(self):,} rows, {len(self.columns)} columns</small>"
        return (
            '<div style="overflow-x:auto"><table class="byrote-table">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{size}</div>"
        )

    def where(self, mask: Column | None = None, /, **conditions: object) -> Table:
        """The rows that meet every condition.

        Args:
            mask: a boolean array of shape (len(self),); None: no mask.
            conditions: for each named column a value (floats are compared to nine digits, and None and NaN match absent
                values), a tuple, list or set of accepted values, or a function of the column that returns a boolean
                array.

        Raises:
            KeyError: a column that does not exist; the message gives the nearest name.
            ValueError: a mask that is not boolean or of another length.
        """
        meets = np.ones(len(self), dtype=bool) if mask is None else self._mask(mask)
        for name, wanted in conditions.items():
            column = self[name]
            meets = meets & (self._mask(wanted(column)) if callable(wanted) else _equals(column, wanted))
        return self.take(np.flatnonzero(meets))

    def _mask(self, mask: object) -> NDArray[np.bool_]:
        array = np.asarray(mask)
        if array.dtype != bool or array.shape != (len(self),):
            raise ValueError(f"expected a boolean mask of {len(self)} rows, got {array.dtype} of shape {array.shape}")
        return array

    def take(self, rows: NDArray[np.intp]) -> Table:
        """The rows at these positions, in this order."""
        return Table._checked({name: partial(self._taken, name, rows) for name in self._columns}, len(rows))

    def _taken(self, name: str, rows: NDArray[np.intp]) -> Column:
        column: Column = self[name][rows]
        column.setflags(write=False)
        return column

    def select(self, *names: str) -> Table:
        """Only the named columns, in this order."""
        for name in names:
            self._known(name)
        return Table._checked({name: partial(self.__getitem__, name) for name in names}, len(self))

    def _known(self, name: str) -> None:
        if name not in self._columns:
            raise KeyError(f"the table has no column {name!r}; {did_you_mean(name, list(self._columns))}")

    def with_column(self, name: str, values: object) -> Table:
        """A copy with one column added or replaced."""
        added = _column(values)
        if len(added) != len(self) and self._columns:
            raise ValueError(f"expected a column of {len(self)} values, got {len(added)}")
        return Table._checked({**self._shared(), name: added}, len(added))

    def with_lazy(self, columns: Mapping[str, Callable[[], object]]) -> Table:
        """A copy with added or replaced columns that are computed on first use."""
        return Table._checked({**self._shared(), **columns}, len(self))

    def _shared(self) -> dict[str, Column | Callable[[], object]]:
        """The columns for a table made from this table; if a column has not been read yet, it is read once for both
        tables."""
        columns: dict[str, Column | Callable[[], object]] = {}
        for name, column in self._columns.items():
            columns[name] = partial(self.__getitem__, name) if callable(column) else column
        return columns

    def final(self, by: str = "key") -> Table:
        """The row of each run's last evaluated epoch; runs are in the order of their first rows.

        Args:
            by: the column that identifies runs.
        """
        if not len(self):
            return self
        _, first, run = np.unique(self[by], return_index=True, return_inverse=True)
        order = np.lexsort((self["epoch"], first[run]))  # by run, then by epoch
        last = np.append(np.diff(first[run][order]) != 0, True)
        return self.take(order[last])

    def groups(self, *names: str) -> Iterator[tuple[tuple[Any, ...], Table]]:
        """Each combination of values that occurs, sorted (absent last), with its rows in their order."""
        if not len(self):
            return
        code = np.zeros(len(self), dtype=np.int64)
        for name in names:
            distinct, inverse = np.unique(self[name], return_inverse=True)
            code = code * len(distinct) + inverse
            code = np.unique(code, return_inverse=True)[1]  # renumbered, since codes would overflow
        order = np.argsort(code, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
            yield tuple(_plain(self[name][rows[0]]) for name in names), self.take(rows)

    def row(self, place: int) -> dict[str, Any]:
        """One row as a dictionary of Python values."""
        return {name: _plain(self[name][place]) for name in self._columns}

    def arrays(self) -> dict[str, Column]:
        """The columns by name, read-only."""
        return {name: self[name] for name in self._columns}

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas frame; an absent number is NaN. Needs pandas (extra `frames`)."""
        frame: pandas.DataFrame = require("pandas", "frames").DataFrame(self.arrays())  # pandas copies the columns
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A polars frame; an absent number is null, so that polars leaves it out of a mean. Needs polars (extra
        `frames`)."""
        columns = {
            name: column.tolist() if column.dtype == object else column for name, column in self.arrays().items()
        }
        frame: polars.DataFrame = require("polars", "frames").DataFrame(columns, nan_to_null=True)
        return frame

    def to_duckdb(self) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation, for SQL and for files: `.filter("j1 > .9")`, `.write_csv(path)`, ...; NaN is NULL there.

        >>> Table({"j1": [0.5, 0.9]}).to_duckdb().aggregate("max(j1)").fetchall()
        [(0.9,)]
        """
        import duckdb

        connection = duckdb.connect(":memory:", config={"threads": 1})
        connection.register("rows_of_table", self.arrays())
        return connection.sql("SELECT * FROM rows_of_table")

    def rows(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries of Python values."""
        columns = [self[name].tolist() for name in self._columns]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _side(value: Any) -> str:
    return "right" if isinstance(value, (int, float)) and not isinstance(value, bool) else "left"


def _unbroken(value: Any) -> str:
    """The style that keeps a short value on one line, because a wide table can scroll sideways and tall rows are hard
    to read."""
    return ";white-space:nowrap" if len(_words(value)) <= _LINE else ""


def _words(value: Any) -> str:
    """A value in a few characters; a dash for an absent value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _joined(parts: Sequence[Column]) -> Column:
    if len({part.dtype.kind for part in parts}) > 1:
        return _of_objects([value for part in parts for value in part])
    return np.concatenate(parts)


def _in_short(value: Any) -> str:
    """A value as text in a table."""
    text = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
    return text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."


def _plain(value: Any) -> Any:
    """A Python value for a numpy scalar."""
    return value.item() if isinstance(value, np.generic) else value
