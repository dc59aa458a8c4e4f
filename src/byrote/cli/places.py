"""Paths in commands: most must be on this machine, and some may be in a bucket."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import CycloptsError, Parameter

from byrote.files import on_this_machine

__all__ = ["Place", "local", "request_error"]

Place = Annotated[Path, Parameter(validator=())]
"""A folder, or s3://BUCKET/PREFIX. Every parameter of another type is checked by `local`."""


def local(_: Any, value: Any) -> None:
    """Check that no path is an address; this is the default validator for all parameters of all commands.

    Raises:
        ValueError: a path is an address.
    """
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(one, Path):
            on_this_machine(one)


def request_error(error: CycloptsError) -> str:
    """What is wrong with the arguments of a command, in one line."""
    argument = error.argument
    if argument is not None and isinstance(error.__cause__, ValueError):
        for token in argument.tokens:
            try:
                on_this_machine(token.value, token.keyword or argument.name.lstrip("-").upper())
            except ValueError as refusal:
                return str(refusal)
    return " ".join(str(error).split())
