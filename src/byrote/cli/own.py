"""A user's own modules in commands that read a store: the recorded modules, and the modules that the command names."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from byrote.cli.output import say, show_trace
from byrote.identity import source_digest
from byrote.own_code import import_modules, search_here

__all__ = ["Imports", "import_own", "say_changed"]

_DIGITS = 12  # digits of a digest in a message

Imports = Annotated[list[str] | None, Parameter(name="--import", negative=())]


def import_own(about: Mapping[str, Any], named: Sequence[str] | None, contents: Iterable[str] = ()) -> None:
    """Import the modules that `--import` names and the modules recorded in the store, to register the user's claims and
    figures.

    A store may be read on a machine without its modules. A recorded module that cannot be imported is reported and left
    out.

    Args:
        about: the record of the store; `imports` in it lists the modules with which the store was made.
        named: the modules that this command names.
        contents: for each stored run the contents in its key, as JSON; a module whose content has changed is reported.

    Raises:
        ValueError: a module that the command names cannot be imported.
    """
    import_modules(named or ())
    for module in about.get("imports") or ():
        if module not in (named or ()):
            try:
                import_modules([module])
            except ValueError as error:
                show_trace(error)
                say(f"{error}; these results were made with that module, but its definitions are left out here")
    say_changed(json.loads(text) for text in set(contents))


def say_changed(contents: Iterable[Mapping[str, str]]) -> None:
    """Report the user's modules whose content differs from the content recorded with the stored runs.

    The key of a run depends on the content of the modules that its spec names, so an edit changes the key. A missing
    module is skipped, because its import reports the error.

    Args:
        contents: for each run the digests of its files and modules; the digest of a module is under `module:NAME`.
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
                f"module {module} here has the content {now[:_DIGITS]}, but these runs were made with {then}: its "
                "present definitions are used, and `byrote run` would train these runs again"
            )
