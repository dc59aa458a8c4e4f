"""A user's own modules: import them (`imports=`), and show their exceptions without byrote's frames.

The current folder is searched only if a module was named, and after every library, so that a user's file never replaces
a library. An exception in a user's code is shown once as Python shows it, from the first frame in the user's own files
on; earlier frames of byrote are left out.
"""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from byrote.identity import is_own

__all__ = ["described", "import_modules", "own_trace", "search_here", "traced"]


def import_modules(modules: Iterable[str]) -> None:
    """Import modules that define components, claims, figures, or measures (`imports=`).

    If at least one module is named, the current folder is added at the end of Python's module path.

    Args:
        modules: names as Python's `import` takes them, such as "mine" or "package.losses".

    Raises:
        ValueError: a name is not a valid module name, there is no such module, a library hides it, or its code raises
            an exception, which is chained as the cause.
    """
    names = list(modules)
    for name in names:
        _check_name(name)
    if names:
        search_here()
    for name in names:
        _check_visible(name)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                raise ValueError(
                    f"`imports=[{name!r}]` failed: there is no module {error.name!r} in {os.getcwd()} or among the "
                    "installed packages; run the command in the folder that contains the module"
                ) from None
            raise ValueError(f"`imports=[{name!r}]` failed: {described(error)}") from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"`imports=[{name!r}]` failed: {described(error)}") from error


def search_here() -> None:
    """Put the current folder at the end of Python's module path, so that named modules are found there."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _check_name(name: str) -> None:
    """Refuse a path or any other text that is not a module's name; the error suggests a name."""
    if all(part.isidentifier() for part in name.split(".")) and not name.endswith(".py"):
        return
    needed = f"`imports=` needs the name of a module as Python's import takes it, got {name!r}"
    path = Path(os.path.relpath(os.path.expanduser(name)) if name else ".")
    *folders, last = path.parts or ("..",)
    parts = [*folders, last.removesuffix(".py")]
    if ".." in parts:
        raise ValueError(
            f"{needed}; run the command in the folder that contains the module, and name it without a path"
        )
    meant = [part if part.isidentifier() else _identifier(part) for part in parts]
    rename = "" if meant == parts else f"rename {path} to {Path(*meant)}{path.suffix} and "
    raise ValueError(f"{needed}; {rename}write `imports=[{'.'.join(meant)!r}]`")


def _identifier(word: str) -> str:
    """The nearest valid Python name."""
    letters = "".join(letter if letter.isalnum() else "_" for letter in word)
    return letters if letters.isidentifier() else f"own_{letters}"


def _check_visible(name: str) -> None:
    """Refuse a file in the current folder with the name of a library, because it would never be imported."""
    top = name.partition(".")[0]
    here = [place for place in (Path.cwd() / f"{top}.py", Path.cwd() / top / "__init__.py") if place.is_file()]
    if not here:
        return
    origin = getattr(sys.modules.get(top), "__file__", None)
    if origin is None and top not in sys.modules:
        origin = getattr(importlib.util.find_spec(top), "origin", None)
    if origin is None or not Path(origin).exists() or not any(os.path.samefile(origin, place) for place in here):
        raise ValueError(
            f"`imports=[{name!r}]` names a library of Python or of this installation, not {here[0].name} in "
            f"{Path.cwd()}; give the file another name"
        )


def described(error: BaseException) -> str:
    """An exception in one sentence: its type, its message, and the user's line that raised it.

    >>> described(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError):  # the text of this error already includes the line
        return text
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own_file(frame.filename)]
    if not frames:
        return text
    last = frames[-1]
    return f"{text} ({os.path.basename(last.filename)}, line {last.lineno}, in {last.name})"


def own_trace(error: BaseException) -> str:
    """The traceback of an exception from the first frame of the user's own files on; empty if there is none.

    In a chain of exceptions, the first exception with such a frame is used.
    """
    looked: BaseException | None = error
    while looked is not None:
        tail = _from_own(looked.__traceback__)
        if tail is not None:
            lines = traceback.format_exception(type(looked), looked, tail, chain=False)
            return "".join(lines).rstrip("\n")
        if isinstance(looked, SyntaxError) and looked.filename and _is_own_file(looked.filename):
            return "".join(traceback.format_exception_only(looked)).rstrip("\n")
        looked = looked.__cause__
    return ""


def traced(error: BaseException) -> str:
    """The traceback of an exception from the user's own files on, or the whole traceback if no such file is in it.

    >>> traced(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    return own_trace(error) or "".join(traceback.format_exception(error)).rstrip("\n")


def _from_own(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and not _is_own_file(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_own_file(name: str) -> bool:
    return not name.startswith("<") and is_own(Path(name))
