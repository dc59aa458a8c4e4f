"""A user's own modules in the commands that read a store: those it was made with, and those that are named now."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from byrote.cli.output import say, show_trace
from byrote.own_code import import_modules

__all__ = ["Imports", "import_own"]

Imports = Annotated[list[str] | None, Parameter(name="--import", negative=())]


def import_own(about: Mapping[str, Any], named: Sequence[str] | None) -> None:
    """Import what `--import` names now and what the store remembers, so that own claims and figures are found.

    A store may be read where its modules are not, so that one which cannot be imported is said and left out.

    Args:
        about: what the store says of itself, with the modules that it was made with as `imports`.
        named: the modules of this command.

    Raises:
        ValueError: a module that is named now cannot be imported.
    """
    import_modules(named or ())
    for module in about.get("imports") or ():
        if module not in (named or ()):
            try:
                import_modules([module])
            except ValueError as error:
                show_trace(error)
                say(f"{error}; these results were made with that module, and what it defines is left out here")
