"""Rows as files for other programs: CSV, Parquet, and a LaTeX table."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from byrote.files import atomic, write_atomic
from byrote.store.parquet import write_parquet
from byrote.table import Table

__all__ = ["ENDINGS", "Form", "write_rows"]

Form = Literal["csv", "parquet", "latex"]
Row = Mapping[str, Any]
ENDINGS: dict[Form, str] = {"csv": "csv", "parquet": "parquet", "latex": "tex"}
"""The file ending of each form."""
_DIGITS = 4  # significant digits in a LaTeX table
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "η": r"$\eta$",
    "ρ": r"$\rho$",
    "α": r"$\alpha$",
    "√": r"$\sqrt{}$",
    "−": "$-$",
    "±": r"$\pm$",
}


def write_rows(path: str | Path, rows: Sequence[Row], form: Form, caption: str = "") -> Path:
    """Write rows as one file, completely or not at all.

    CSV and Parquet files contain every digit; an absent value is an empty cell or NULL. A LaTeX table has four
    significant digits, is a `tabular` in the style of the package booktabs, and names its source in a comment.

    Args:
        path: the file without its ending, which follows from the form.
        rows: at least one row, each a dictionary; a column that is missing in a row has an absent value there.
        form: "csv", "parquet", or "latex".
        caption: a description of the rows, for the comment in a LaTeX file.

    Returns:
        The path of the file.

    Raises:
        ValueError: there are no rows.
        byrote.files.WriteError: the disk is full or read-only.
    """
    if not rows:
        raise ValueError(f"{path} must have at least one row, got none")
    target = Path(f"{path}.{ENDINGS[form]}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if form == "csv":
        return write_atomic(target, _csv(names, rows))
    if form == "latex":
        return write_atomic(target, _latex(names, rows, caption))
    table = Table.of([{name: _stored(row.get(name)) for name in names} for row in rows])
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as draft:
        write_parquet(draft, {name: table[name] for name in names})
    return target


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _stored(value: Any) -> Any:
    """A value as it is stored in Parquet: a list of numbers becomes text."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _csv(names: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if _absent(row.get(name)) else _stored(row.get(name)) for name in names])
    return text.getvalue()


def _latex(names: Sequence[str], rows: Sequence[Row], caption: str) -> str:
    numeric = [all(_absent(v := row.get(name)) or _is_number(v) for row in rows) for name in names]
    lines = [f"% {' '.join(caption.split())}", r"% needs \usepackage{booktabs}"]
    lines += [rf"\begin{{tabular}}{{{''.join('r' if one else 'l' for one in numeric)}}}", r"\toprule"]
    lines += [f"{' & '.join(_escaped(name.replace('_', ' ')) for name in names)} \\\\", r"\midrule"]
    lines += [f"{' & '.join(_cell(row.get(name)) for name in names)} \\\\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    """A value of a LaTeX table.

    >>> _cell(-0.012345), _cell(1.2e-9), _cell(12), _cell("50% of A_1"), _cell(None)
    ('$-0.01235$', '$1.2 \\\\times 10^{-9}$', '12', '50\\\\% of A\\\\_1', '')
    """
    if _absent(value):
        return ""
    if not _is_number(value):
        return _escaped(str(_stored(value)))
    text = f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
    number, _, power = text.partition("e")
    if power:
        return rf"${number} \times 10^{{{int(power)}}}$"
    return f"${number}$" if number.startswith("-") else number


def _escaped(text: str) -> str:
    return re.sub(r"\s+", " ", "".join(_SPECIAL.get(c, c) for c in text))
