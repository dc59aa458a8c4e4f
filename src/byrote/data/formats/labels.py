"""Read labels, ids and splits as users store them; an ambiguous value raises an error of one sentence."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np

__all__ = [
    "MISSING",
    "Labels",
    "check_names",
    "class_order",
    "different_ids",
    "numbered",
    "one_column",
    "split_named",
    "split_within",
    "typed",
    "whole_numbers",
]

MISSING = frozenset(
    (
        "",
        "?",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "N/A",
        "n/a",
        "NA",
        "<NA>",
        "NaN",
        "nan",
        "NAN",
        "-nan",
        "-NaN",
        "NaT",
        *("NULL", "Null", "null", "None"),
    )
)
"""Strings that programs write for a missing value. In lower case, "none" and "na" can be names of classes."""


class Labels(NamedTuple):
    """Labels as numbers, and the names of the classes if the labels were strings (otherwise empty)."""

    numbers: "np.ndarray[Any, Any]"  # (n,) int64
    names: tuple[str, ...]


def _missing(value: object) -> bool:
    """Whether a cell means a missing value: None, NaN, or a string that programs write for missing values."""
    return value is None or value != value or str(value).strip() in MISSING


def class_order(name: str) -> tuple[int, str]:
    """Sort key for class names: whole numbers first, by value, then other names alphabetically.

    >>> sorted(["10", "2", "dog", "1", "Cat"], key=class_order)
    ['1', '2', '10', 'Cat', 'dog']
    """
    return (int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1 << 62, name)


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse two class names that look alike or are the same number, because they are one class written in two ways.

    >>> check_names(["1", "01"], "a.csv")
    Traceback (most recent call last):
    ValueError: a.csv: the classes '1' and '01' are the same number; use one name for both
    """
    seen: dict[str | Decimal, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", name).strip()
        number = Decimal(plain) if _NUMBER.fullmatch(plain) and len(plain) < 40 else None
        other = seen.setdefault(plain if number is None else number, name)
        if other != name:
            alike = other.strip() == name.strip() or number is None
            how = "differ only in spaces or in the encoding of an accent" if alike else "are the same number"
            raise ValueError(f"{where}: the classes {other!r} and {name!r} {how}; use one name for both")


def numbered(column: "np.ndarray[Any, Any]", where: str, unit: str = "sample") -> Labels:
    """Labels as int64 (n,): whole numbers stay, strings become the position of their class in `class_order`.

    Args:
        column: integers, booleans, whole floats or strings of shape (n,) or (n, 1); or one-hot rows (n, N).
        where: the name of the source in error messages.
        unit: the word for a position in error messages, such as "row".

    Raises:
        ValueError: a missing, negative or fractional label (the message names the first one), or a wrong shape or type.

    Example:
        >>> numbered(np.array(["dog", "ant", "dog"]), "a.csv")
        Labels(numbers=array([1, 0, 1]), names=('ant', 'dog'))
        >>> numbered(np.array([0.0, 2.5]), "a.csv")
        Traceback (most recent call last):
        ValueError: a.csv: labels must be integers or strings, got 2.5 in sample 2
    """
    column = one_column(np.asarray(column), where)
    if column.dtype.kind in "OUS":
        return _texts(column, where, unit)
    if column.dtype.kind not in "biuf":
        raise ValueError(f"{where}: labels must be integers or strings, got {column.dtype}")
    numbers = whole_numbers(column, f"{where}: labels must be integers or strings", unit)
    if len(numbers) and numbers.min() < 0:
        first = int(np.flatnonzero(numbers < 0)[0])
        advice = "number the classes from 0 and leave out samples without a label"
        if set(numbers.tolist()) == {-1, 1}:
            advice = "for labels -1 and 1, add 1 and halve them"
        raise ValueError(f"{where}: labels must be at least 0, got {numbers[first]} in {unit} {first + 1}: {advice}")
    return Labels(numbers, ())


def one_column(column: "np.ndarray[Any, Any]", where: str) -> "np.ndarray[Any, Any]":
    """Convert labels (n,) or (n, 1), or one-hot rows (n, N), to labels (n,).

    Raises:
        ValueError: a wrong shape.
    """
    if column.ndim == 2 and column.shape[1] == 1:
        return column[:, 0]
    if column.ndim == 2 and column.dtype.kind in "biuf" and len(column):
        hot = ((column == 0) | (column == 1)).all(axis=1) & (column.sum(axis=1) == 1)
        if hot.all():
            place: np.ndarray[Any, Any] = column.argmax(axis=1)
            return place
        if hot.any():
            row = int(np.flatnonzero(~hot)[0])
            raise ValueError(
                f"{where}: each one-hot row must have exactly one 1, got {column[row].tolist()} in sample {row + 1} "
                f"(wrong rows: {int((~hot).sum())} of {len(hot)}): leave those samples out, or give labels (n,)"
            )
    if column.ndim != 1:
        raise ValueError(
            f"{where}: expected one label per sample, as (n,), (n, 1) or one-hot rows (n, N), "
            f"got an array {column.shape}"
        )
    return column


def _texts(column: "np.ndarray[Any, Any]", where: str, unit: str) -> Labels:
    values = [_decoded(value, where, unit, place) for place, value in enumerate(column.tolist(), 1)]
    lost = [i for i, value in enumerate(values) if _missing(value)]
    if lost:
        text = "" if values[lost[0]] is None else str(values[lost[0]])
        raise ValueError(
            f"{where}: {len(lost)} of {len(values)} labels are missing, the first in {unit} {lost[0] + 1} "
            f"({text!r}): fill them in, or leave those samples out"
        )
    texts = [str(value) for value in values]
    names = sorted(set(texts), key=class_order)
    check_names(names, where)
    place = {name: i for i, name in enumerate(names)}
    return Labels(np.array([place[text] for text in texts], dtype=np.int64), tuple(names))


def _decoded(value: Any, where: str, unit: str, place: int) -> Any:
    """The value of a cell, with bytes decoded to text; a cell with several values is refused."""
    if isinstance(value, bytes | bytearray):
        try:
            text = bytes(value).decode()
        except UnicodeDecodeError:
            text = "\0"
        if any(unicodedata.category(letter) == "Cc" and not letter.isspace() for letter in text):
            raise ValueError(
                f"{where}: labels must be strings in UTF-8, got bytes that are not UTF-8 in {unit} {place}"
            )
        return text
    if isinstance(value, list | tuple | dict | set | np.ndarray):
        raise ValueError(
            f"{where}: labels must be integers or strings, got a {type(value).__name__} in {unit} {place}: write one "
            "class per sample"
        )
    return value


def whole_numbers(column: "np.ndarray[Any, Any]", needed: str, unit: str) -> "np.ndarray[Any, Any]":
    """Convert numbers to int64 without changing any of them.

    Args:
        needed: the start of an error message, which states what is expected.
        unit: the word for a position in error messages, such as "row".

    Raises:
        ValueError: a value that is missing, fractional, or too large to be exact in its type.
    """
    if column.dtype.kind in "bi":
        return column.astype(np.int64)
    if column.dtype.kind == "u":
        bad = column > np.iinfo(np.int64).max
    else:
        values = column.astype(np.float64)
        lost = np.flatnonzero(np.isnan(values))
        if len(lost):
            raise ValueError(
                f"{needed}, but {len(lost)} of {len(column)} are missing, the first in {unit} {lost[0] + 1}"
            )
        bad = ~np.isfinite(values) | (np.abs(values) > 2**53) | (np.floor(values) != values)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{needed}, got {column[first]} in {unit} {first + 1}")
    return column.astype(np.int64)


# --------------------------------------------------------------------------------------- cells of a table

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_INFINITE = re.compile(r"\s*[+-]?inf(inity)?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


def _all_texts(cells: list[Any]) -> TypeGuard[list[str]]:
    return all(isinstance(cell, str) for cell in cells)


def typed(cells: list[Any]) -> "np.ndarray[Any, Any]":
    """Cells as booleans, integers or floats if all cells have that type, or are strings that can be read as that type.

    >>> typed(["1", "0"]).dtype.kind, typed(["1.0", "2.5"]).dtype.kind, typed(["1", "a"]).dtype.kind
    ('i', 'f', 'O')
    """
    if cells and _all_texts(cells):
        if all(map(_WHOLE.fullmatch, cells)):
            return _exact([int(cell) for cell in cells])
        if all(map(_NUMBER.fullmatch, cells)):
            return np.array([float(cell) for cell in cells])
        plain = [cell for cell in cells if not _INFINITE.fullmatch(cell)]
        if plain and all(map(_NUMBER.fullmatch, plain)):
            return np.array([float(cell) for cell in cells])
    kinds = set(map(type, cells))
    if kinds == {bool}:
        return np.array(cells)
    if kinds == {int}:
        return _exact(cells)
    if kinds and kinds <= {int, float, Decimal}:
        return np.array([float(cell) for cell in cells])
    return _objects(cells)


def _objects(cells: list[Any]) -> "np.ndarray[Any, Any]":
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def _exact(numbers: list[int]) -> "np.ndarray[Any, Any]":
    """The numbers as int64, or as floats if one of them is too large for int64."""
    limits = np.iinfo(np.int64)
    fits = limits.min <= min(numbers) and max(numbers) <= limits.max
    return np.array(numbers, dtype=np.int64 if fits else np.float64)


def different_ids(cells: list[Any], where: str) -> "np.ndarray[Any, Any]":
    """Convert ids to int64 and check that no id occurs twice.

    Raises:
        ValueError: an id is missing, is not a whole number, or occurs twice; the message names the row.
    """
    needed = f"{where}: ids must be whole numbers without repeats (leave id_column empty to number the rows)"
    lost = [row for row, cell in enumerate(cells, 1) if _missing(cell)]
    if lost:
        raise ValueError(f"{needed}, but {len(lost)} of {len(cells)} are missing, the first in row {lost[0]}")
    column = typed(cells)
    if cells and column.dtype.kind not in "if":
        first = next((r for r, c in enumerate(cells, 1) if not (isinstance(c, str) and _WHOLE.fullmatch(c))), 1)
        raise ValueError(f"{needed}, got {cells[first - 1]!r} in row {first}")
    ids = whole_numbers(column, needed, "row") if cells else np.zeros(0, dtype=np.int64)
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        twice = int(values[counts > 1][0])
        rows = (np.flatnonzero(ids == twice)[:2] + 1).tolist()
        raise ValueError(f"{needed}, but {twice} is in rows {rows[0]} and {rows[1]}")
    return ids


_SPLITS: dict[str, Literal["train", "test", "val"]] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}


def split_named(name: str) -> Literal["train", "test", "val"] | None:
    """The split that a name means; None if it does not mean a split.

    >>> split_named("Train"), split_named("valid"), split_named("cats")
    ('train', 'val', None)
    """
    return _SPLITS.get(name.strip().lower())


def split_within(name: str) -> Literal["train", "test", "val"] | None:
    """The split that a name contains among other words or digits; None if it contains no split or two splits.

    >>> split_within("test_set"), split_within("seg_train"), split_within("train1"), split_within("contest")
    ('test', 'train', 'train', None)
    """
    splits = {split for word in re.split(r"[\W\d_]+", name) if (split := split_named(word))}
    return splits.pop() if len(splits) == 1 else None
