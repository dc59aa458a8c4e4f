"""Base classes of libraries that may not be installed."""

from __future__ import annotations

from typing import Any

from byrote.checks import require

__all__ = ["base"]


def base(module: str, name: str, extra: str) -> Any:
    """The base class `module.name`, or, without the library, a stand-in that raises an error on construction.

    So an adapter module can be imported and documented without the library that it adapts.

    >>> class Odd(base("no_such_library", "Callback", "lightning")): ...
    >>> Odd()
    Traceback (most recent call last):
    ModuleNotFoundError: no_such_library is required here but is not installed (...): pip install 'byrote[lightning]'
    """
    try:
        return getattr(require(module, extra), name)
    except ModuleNotFoundError:
        return type(name, (), {"__init__": lambda self, *args, **options: require(module, extra)})
