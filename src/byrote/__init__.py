"""byrote: what a classifier learned by rote.

Memorization and neural collapse under label noise, as a function of the loss. The submodules (`losses`,
`noise`, `data`, `networks`, `engine`, `measures`, `theory`) are loaded when first used, so that `import byrote` is
immediate and does not load torch.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # not from `typing`, which a file typing.py in the current folder could replace
if TYPE_CHECKING:
    from byrote import analysis as analysis
    from byrote import claims as claims
    from byrote import data as data
    from byrote import engine as engine
    from byrote import figures as figures
    from byrote import losses as losses
    from byrote import measures as measures
    from byrote import networks as networks
    from byrote import noise as noise
    from byrote import recipe as recipe
    from byrote import theory as theory
    from byrote.analysis import open_store as open
    from byrote.experiment import Experiment as Experiment
    from byrote.study import Study as Study
    from byrote.sweep.run import run as run

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


if not TYPE_CHECKING:  # a type checker sees only the imports above, and so reports unknown names

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(f"byrote.{name}")
        if name in _NAMES:
            return getattr(importlib.import_module(_NAMES[name]), _CALLED.get(name, name))
        raise AttributeError(f"module 'byrote' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
