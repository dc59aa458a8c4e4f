"""Choose the feature columns of a table, which have a number in every cell; other columns are reported or refused."""

import re
from typing import Any

import numpy as np

from byrote.data.formats.single import single
from byrote.data.formats.tables import Table

__all__ = ["choose"]

_UNNAMED = re.compile(r"\s*|Unnamed: \d+(\.\d+|_level_\d+)*|__index_level_\d+__|level_\d+|\.\.\.\d+")
_NUMBERING = frozenset(
    ("id", "ids", "idx", "index", "key", "row", "rowid", "row_id", "row_nr", "row_number", "rownames")
)
_GROUPED = r"[-+]?[0-9]{1,3}([,. ''][0-9]{3})+([.,][0-9]+)?|[-+]?[0-9]+,[0-9]+"  # 1,234 or 1.234,5 or 1,5
_MONEY = r"[-+]?[$€£¥] ?[0-9][0-9.,]*|[-+]?[0-9][0-9.,]* ?[%$€£¥]"  # 5%, $5 or 5 €
_MANY = 20  # rows; in a shorter table, a column that counts the rows may be a coincidence


def choose(
    table: Table, wanted: tuple[str, ...], other: set[str], where: str
) -> tuple[list[str], "np.ndarray[Any, Any]", list[str]]:
    """The feature columns, their values as float32 (n, d), and one sentence for each reason why columns were left out.

    Args:
        wanted: the columns to take; empty takes all columns except `other` in which every cell is a number or a truth
            value.
        other: the columns with another role, such as the labels.
        where: the name of the table in error messages.

    Raises:
        ValueError: a wanted column without numbers; a column in which only some cells are numbers; a column that was
            not requested and seems to number the rows, although it is not named like an index; numbers that float32
            cannot distinguish.
    """
    names = list(wanted) or [name for name in table.types if name not in other]
    values = table.numbers(names)
    left: dict[str, list[str]] = {}
    refused: list[str] = []
    taken = []
    for place, name in enumerate(names):
        reason = "" if np.isfinite(values[:, place]).all() else _fill(table, name, values[:, place])
        if reason.startswith("!"):
            refused.append(reason[1:])
        elif reason:
            left.setdefault(reason, []).append(name)
        elif not wanted and name in table.index:
            left.setdefault("that pandas wrote as the index", []).append(name)
        elif not wanted and _numbers_rows(name, values[:, place], where):
            left.setdefault("of row numbers", []).append(name)
        else:
            taken.append(place)
    if refused:
        more = f" (other such columns: {len(refused) - 1})" if len(refused) > 1 else ""
        raise ValueError(f"{where}: features must be finite numbers in every row, but {refused[0]}{more}")
    if wanted and left:
        lost = [name for columns in left.values() for name in columns]
        raise ValueError(f"{where}: feature columns must be numbers, got {lost}")
    notes = [
        f"{where}: left out {len(columns)} column{'s' if len(columns) > 1 else ''} {reason}: "
        f"{', '.join(map(repr, columns[:8]))}{', ...' if len(columns) > 8 else ''}"
        for reason, columns in left.items()
    ]
    chosen = [names[place] for place in taken]
    return chosen, single(values[:, taken], [f"column {name!r}" for name in chosen], where), notes


def _fill(table: Table, name: str, column: "np.ndarray[Any, Any]") -> str:
    """Fill in a feature column, or return why it is not a feature; a reason that starts with "!" refuses the table."""
    held = table.count(name)
    if held.truths == table.rows:
        column[:] = table.truths([name])[:, 0]
        return ""
    if held.missing == table.rows:
        return "without a value"
    if not held.numbers and not held.truths:
        grouped = table.first_like(name, f"{_GROUPED}|{_MONEY}")
        if grouped is None:
            return "without numbers"
        return (
            f"!column {name!r} has numbers with separators or other signs, the first in row {grouped[0]} "
            f"({grouped[1]!r}): write plain numbers with a decimal point, or list the other columns in features"
        )
    which, count = ("missing", held.missing) if held.missing else ("number", held.other or held.truths)
    row, cell = table.first(name, which)
    verb = ("has", "is") if count == 1 else ("have", "are")
    what = f"{verb[0]} no value" if held.missing else f"{verb[1]} not a finite number"
    return (
        f"!in column {name!r}, {count} of {table.rows} cells {what}, the first in row {row} ({cell!r}): fill in the "
        "numbers, leave those rows out, or list the other columns in features"
    )


def _numbers_rows(name: str, column: "np.ndarray[Any, Any]", where: str) -> bool:
    """Whether a column is named like an index; a column that numbers the rows under another name is refused."""
    whole = bool((column == np.floor(column)).all())
    if _UNNAMED.fullmatch(name):
        if not whole:
            raise ValueError(
                f"{where}: every feature needs a name, but column {name!r} has none and does not number the rows: "
                "name it, or list features=(...)"
            )
        return True
    if not whole or len(np.unique(column)) < len(column):
        return False
    if name.strip().lower() in _NUMBERING:
        return True
    if len(column) < _MANY:
        return False
    steps = np.diff(column)
    counts = column.max() - column.min() + 1 == len(column)
    if counts or (steps > 0).all() or (steps < 0).all():
        how = "counts the rows" if counts else "rises or falls with every row, like an index,"
        raise ValueError(
            f"{where}: column {name!r} {how} from {column.min():.0f} to {column.max():.0f}: list features=(...) with "
            f"or without this column, or set id_column={name!r}"
        )
    return False
