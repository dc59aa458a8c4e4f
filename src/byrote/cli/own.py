"""A user's own modules in the commands that read a store: those it was made with, and those that are named now."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from byrote.cli.output import say, show_trace
from byrote.identity import source_digest
from byrote.own_code import import_modules, search_here

__all__ = ["Imports", "import_own", "say_changed"]

_DIGITS = 12  # of a content, in a sentence

Imports = Annotated[list[str] | None, Parameter(name="--import", negative=())]


def import_own(about: Mapping[str, Any], named: Sequence[str] | None, contents: Iterable[str] = ()) -> None:
    """Import what `--import` names now and what the store remembers, so that own claims and figures are found.

    A store may be read where its modules are not, so that one which cannot be imported is said and left out.

    Args:
        about: what the store says of itself, with the modules that it was made with as `imports`.
        named: the modules of this command.
        contents: of each stored run the contents that name it, as JSON; a module that has another one now is said.

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
    say_changed(json.loads(text) for text in set(contents))


def say_changed(contents: Iterable[Mapping[str, str]]) -> None:
    """Say which of the user's modules are here with another content than the runs that they made.

    Runs are named by the content of the modules that their specs name, so that a module which was edited is another
    one. A module that is not here is passed over: importing it says so.

    Args:
        contents: of each run the digests of its files and modules, under `module:NAME`.
    """
    recorded: dict[str, set[str]] = {}
    for one in contents:
        for name, content in one.items():
            if name.startswith("module:"):
                recorded.setdefault(name.removeprefix("module:"), set()).add(content)
    if recorded:
        search_here()
    for module, digests in sorted(recorded.items()):
        try:
            now = source_digest(module)
        except ValueError:
            continue
        if now not in digests:
            then = " or ".join(sorted(content[:_DIGITS] for content in digests))
            say(
                f"module {module} here has the content {now[:_DIGITS]}, and these runs were made with {then}: what it "
                "defines is used as it is now, and `byrote run` would train its runs again"
            )
