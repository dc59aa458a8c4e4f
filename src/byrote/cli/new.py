"""`byrote new`: a small working file for a user's own loss, study or other part, and its test next to it."""

import keyword
import sys
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal

from byrote.cli.output import say
from byrote.files import write_atomic

__all__ = ["new"]


def new(
    kind: Literal["study", "loss", "network", "noise", "measure", "claim", "figure"],
    name: str,
    /,
    *,
    folder: Path = Path(),
) -> int:
    """Write a small working example of your own loss, study or other part, and its test.

    The file works without changes. Change it step by step, and run its test with `python -m pytest`.

    Parameters
    ----------
    kind
        The kind of part to write.
    name
        The name of its module: my_loss gives my_loss.py with the class MyLoss, and test_my_loss.py.
    folder
        The folder to write to (default: this folder).
    """
    _checked(name)
    target = folder / f"{name}.{'toml' if kind == 'study' else 'py'}"
    test = folder / f"test_{name}.py"
    for path in (target, test):
        if path.exists():
            raise ValueError(f"{path} exists already and was not changed; choose another name or --folder")
    values = {"name": name, "Class": "".join(part.capitalize() for part in name.split("_"))}
    values["figure"] = name.replace("_", "-").strip("-")
    for path, template in ((target, kind), (test, f"{kind}_test")):
        text = (resources.files("byrote.cli") / "templates" / f"{template}.txt").read_text("utf-8")
        write_atomic(path, Template(text).substitute(values))
    say(f"wrote {target} and {test}; next: python -m pytest {test}")
    return 0


def _checked(name: str) -> None:
    """Check that a name can be the name of a module."""
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name.startswith(("_", "test_")):
        raise ValueError(
            "a name must consist of letters, digits and underscores and start with a letter, such as my_loss, got "
            f"{name!r}"
        )
    if name != name.lower():
        raise ValueError(f"a name must be in lower case, such as {name.lower()}, got {name!r}")
    if name in sys.stdlib_module_names or name in ("byrote", "torch", "numpy", "altair", "pydantic", "pytest"):
        raise ValueError(
            f"{name!r} is the name of an existing Python module, which the file would hide; choose another name"
        )
