"""byrote: what a classifier learned by rote.

Memorization and neural collapse under label noise, as a function of the loss. The submodules (`losses`,
`noise`, `data`, `networks`, `engine`, `measures`, `theory`) are loaded when first used, so that `import byrote` is
immediate and does not load torch.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # `typing` itself would be looked for in the current folder first under `python -m byrote`
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_MODULES = (
    *("losses", "noise", "data", "networks", "engine", "measures", "theory", "recipe"),
    *("analysis", "claims", "figures"),
)
_NAMES = {
    "Experiment": "byrote.experiment",
    "Study": "byrote.study",
    "run": "byrote.sweep",
    "open": "byrote.analysis",
}

_CALLED = {"open": "open_store"}

__all__ = [
    "Experiment",
    "Study",
    "analysis",
    "claims",
    "data",
    "engine",
    "figures",
    "losses",
    "measures",
    "networks",
    "noise",
    "open",
    "recipe",
    "run",
    "theory",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"byrote.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), _CALLED.get(name, name))
    raise AttributeError(f"module 'byrote' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
