"""Read integer columns of a CSV or Parquet file: all cells must be integers; an error names the first bad cell."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch

from byrote import inputs
from byrote.component import did_you_mean

__all__ = ["integer_columns"]

_Types = dict[str, tuple[str, str]]  # maps the name of each column to its name in SQL and its type


def integer_columns(path: Path, names: tuple[str, ...]) -> list[torch.Tensor]:
    """Read columns of a file as int64 (n,).

    Args:
        path: a plain .csv file with a header and commas, or a .parquet file.
        names: the names of the columns.

    Raises:
        ValueError: a wrong kind of file, a missing column, or a cell that is not an integer.
    """
    kind = path.suffix[1:].lower()
    with inputs.table_name(path) as link, duckdb.connect() as connection:
        try:
            source, types = _csv(path, link) if kind == "csv" else _parquet(connection, link)
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {source}").fetchall() if types else [(0,)]
        except (duckdb.Error, _Broken) as error:
            reason = inputs.table_error(error, path)
            raise ValueError(f"{inputs.shown(path)} is not a complete {kind} file of labels: {reason}") from None
        for name in names:
            if name not in types:
                raise ValueError(f"{inputs.shown(path)} has no column {name!r}; {did_you_mean(name, list(types))}")
        inputs.fits(64 * rows, f"{inputs.shown(path)} with {rows} rows")
        try:
            return [torch.from_numpy(_whole(connection, source, path, name, *types[name])) for name in names]
        except duckdb.Error as error:
            reason = inputs.table_error(error, path)
            raise ValueError(f"{inputs.shown(path)} is not a complete {kind} file of labels: {reason}") from None


class _Broken(ValueError):
    """The header of the file cannot be read."""


def _csv(path: Path, link: str) -> tuple[str, _Types]:
    """A CSV file as a source in SQL, and its columns; all are read as text, so that no type is guessed."""
    if not path.stat().st_size:
        return "", {}
    try:
        names, between = inputs.csv_names(path)
    except ValueError as error:
        raise _Broken(str(error)) from None
    types = {name.strip(): (f"c{place}", "VARCHAR") for place, name in enumerate(names)}
    return inputs.csv_source(link, len(names), between), types


def _parquet(connection: duckdb.DuckDBPyConnection, link: str) -> tuple[str, _Types]:
    """A Parquet file as a source in SQL, and its columns."""
    source = f"read_parquet({inputs.quoted(link)}, hive_partitioning = false)"
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    columns = ", ".join(f"c{place}" for place in range(len(described)))
    types = {str(row[0]): (f"c{place}", str(row[1]).upper()) for place, row in enumerate(described)}
    return f"{source} AS stored({columns})", types


def _integer(cell: str, kind: str) -> tuple[str, str, str]:
    """SQL expressions for a cell: whether it is missing, its integer value (or NULL), and whether it is a boolean.

    Floats with integer values count as integers, because programs write an integer column with missing values as
    floats.
    """
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "BLOB", "DATE", "TIME", "INTERVAL")):
        return f"({cell} IS NULL)", "NULL::BIGINT", "false"
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        exact = f"floor({cell}) = {cell} AND abs({cell}) <= {1 << 53}"
        return f"({cell} IS NULL OR isnan({cell}::DOUBLE))", f"CASE WHEN {exact} THEN {cell}::BIGINT END", "false"
    if not kind.startswith(("VARCHAR", "ENUM")):
        return f"({cell} IS NULL)", f"try_cast({cell} AS BIGINT)", str(kind == "BOOLEAN").lower()
    text = f"trim({cell}::VARCHAR)"
    number = f"try_cast({text} AS DOUBLE)"
    value = (
        f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+(\\.0*)?') THEN try_cast(ltrim(split_part({text}, '.', 1), "
        f"'+') AS BIGINT) WHEN regexp_full_match({text}, '[+-]?[0-9]+(\\.[0-9]*)?[eE][+-]?[0-9]+') AND floor({number}) "
        f"= {number} AND abs({number}) <= {1 << 53} THEN {number}::BIGINT WHEN lower({text}) = 'true' THEN 1 WHEN "
        f"lower({text}) = 'false' THEN 0 END"
    )
    return f"({cell} IS NULL OR {text} = '' OR lower({text}) = 'nan')", value, f"lower({text}) IN ('true', 'false')"


def _whole(
    connection: duckdb.DuckDBPyConnection, source: str, path: Path, name: str, cell: str, kind: str
) -> "np.ndarray[Any, Any]":
    """Read a column as int64; an error names the first cell without an integer."""
    missing, value, truth = _integer(cell, kind)
    query = f"SELECT {missing} AS lost, {value} AS value, coalesce({truth}, false) AS truth FROM {source}"
    cells = connection.execute(query).fetchnumpy()
    lost, truths = (np.ma.filled(cells[part], False).astype(bool) for part in ("lost", "truth"))
    bad = ~lost & (np.ma.getmaskarray(cells["value"]) | (truths if not truths.all() else False))
    needed = f"{inputs.shown(path)}: column {name!r} must hold an integer in every row"
    for rows, what in ((lost, "no value"), (bad, "another value")):
        if rows.any():
            first = int(np.flatnonzero(rows)[0])
            at = f"SELECT {cell}::VARCHAR FROM {source} LIMIT 1 OFFSET {first}"
            text = "" if what == "no value" else f" ({connection.execute(at).fetchall()[0][0]})"
            raise ValueError(
                f"{needed}, but {int(rows.sum())} of {len(rows)} hold {what}, the first in row {first + 1}{text}"
            )
    whole: np.ndarray[Any, Any] = np.ma.getdata(cells["value"]).astype(np.int64)
    return whole
