"""Output of all commands: data on standard output, everything else on standard error."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from byrote.own_code import own_trace

__all__ = [
    "as_options",
    "duration",
    "fail",
    "older",
    "print_json",
    "print_table",
    "quiet",
    "say",
    "show_trace",
    "shown",
]


def duration(seconds: float) -> str:
    """A duration as minutes and seconds, or as hours, minutes and seconds.

    >>> duration(75), duration(7265)
    ('1:15', '2:01:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def quiet() -> bool:
    """Whether `-q` was given."""
    return bool(os.environ.get("BYROTE_QUIET"))


def shown(text: str) -> str:
    """The text, with the folder of a bucket's local copy replaced by the address of the bucket."""
    mirror = sys.modules.get("byrote.store.mirror")
    return text if mirror is None else str(mirror.shown(text))


def say(text: str) -> None:
    """Print a message on standard error; silent under `-q`."""
    if not quiet():
        Console(stderr=True, highlight=False).print(as_options(shown(text)), markup=False, soft_wrap=True)


def fail(text: str, code: int) -> int:
    """Print one line on standard error, even if a path in it contains a line break, and return the exit code."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in as_options(shown(text)))
    sys.stderr.write(f"byrote: {line}\n")
    return code


_OPTIONS = {"imports": "--import", "limit": "--max-runs"} | {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("accept", "address", "array", "device", "foreign", "gpus_per_task", "keep_weights", "on", "out", "part"),
        *("partition", "time", "where", "workers"),
    )
}
_ARGUMENT = re.compile(rf"`({'|'.join(_OPTIONS)})=([^`]*)`")


def as_options(text: str) -> str:
    """A message of the library, with Python arguments replaced by the options of the command line.

    >>> as_options("with `on='ray'` give no `gpus_per_task=`; name its module with `imports=['mine']`")
    'with --on ray give no --gpus-per-task; name its module with --import mine'
    """

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        return f"{_OPTIONS[name]} {value.strip('[]').strip(chr(39))}".rstrip()

    return _ARGUMENT.sub(option, text)


def older(versions: Mapping[str, int], root: Path) -> str:
    """A line about stored runs that do not count, because they were made with older content of a file or module.

    >>> older({"mine.npz 0f3a5c9e21b4": 18}, Path("runs/a"))
    '18 runs of an older version are in runs/a and do not count (mine.npz 0f3a5c9e21b4: 18); use --accept to count them'
    """
    listed = ", ".join(f"{version}: {runs}" for version, runs in versions.items())
    total = sum(versions.values())
    return f"{total} runs of an older version are in {root} and do not count ({listed}); use --accept to count them"


def show_trace(error: BaseException) -> None:
    """Print the traceback of a user's own code on standard error; nothing if the exception comes from other code."""
    trace = own_trace(error)
    if trace:
        sys.stderr.write(f"{trace}\n")


def print_json(value: object) -> None:
    """Print data as JSON on standard output."""
    sys.stdout.write(shown(json.dumps(value, indent=1, allow_nan=False)) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table on standard output; if that is not a terminal, print plain lines of tab-separated cells."""
    if not sys.stdout.isatty():
        lines = ["\t".join(columns), *("\t".join(_text(row.get(c)) for c in columns) for row in rows)]
        sys.stdout.write("\n".join(lines) + "\n")
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(markup=False, emoji=False, highlight=False).print(table)


def _text(value: object) -> str:
    """The text of a cell: a pair in a tuple is an interval; other lists are joined by commas.

    >>> _text((0.25, 0.5)), _text([0, 1]), _text(("a.svg", "a.pdf", "a.csv")), _text(None)
    ('0.25 to 0.5', '0, 1', 'a.svg, a.pdf, a.csv', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        interval = isinstance(value, tuple) and len(value) == 2
        return (" to " if interval else ", ").join(_text(part) for part in value)
    return shown(" ".join(str(value).split()))
