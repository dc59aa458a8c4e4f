"""A user's own modules in commands that read a store: those it was made with, and those named in the command."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from byrote.cli.output import say, show_trace
from byrote.identity import source_digest
from byrote.own_code import import_modules, search_here

__all__ = ["Imports", "import_own", "say_changed"]

_DIGITS = 12  # digits of a content in a message

Imports = Annotated[list[str] | None, Parameter(name="--import", negative=())]


def import_own(about: Mapping[str, Any], named: Sequence[str] | None, contents: Iterable[str] = ()) -> None:
    """Import the modules that `--import` names and those recorded in the store, so that own claims and figures exist.

    A store may be read on a machine without its modules. A recorded module that cannot be imported is reported and left
    out.

    Args:
        about: the record of the store, with the modules that it was made with as `imports`.
        named: the modules of this command.
        contents: for each stored run the contents in its key, as JSON; a module with another content now is reported.

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
    """Report the user's modules whose content differs from that recorded in the stored runs.

    The key of a run depends on the content of the modules that its spec names, so an edited module counts as another
    one. A missing module is skipped, because importing it reports the error.

    Args:
        contents: for each run the digests of its files and modules, under `module:NAME`.
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
