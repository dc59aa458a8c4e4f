"""Audit a user's own labels: estimate how many are wrong and which, and how certain these answers are.

Each name is imported on first use, so that a stored audit can be read, planned and settled without torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byrote.audit.estimator import LabelAudit as LabelAudit
    from byrote.audit.plan import Plan as Plan
    from byrote.audit.result import Audit as Audit
    from byrote.audit.result import Confused as Confused
    from byrote.audit.result import Rate as Rate
    from byrote.audit.run import audit_probabilities as audit_probabilities
    from byrote.audit.run import audit_samples as audit_samples
    from byrote.audit.settle import Settled as Settled
    from byrote.audit.transition import Transition as Transition

_HOME = {
    "Audit": "result",
    "Confused": "result",
    "LabelAudit": "estimator",
    "Plan": "plan",
    "Rate": "result",
    "Settled": "settle",
    "Transition": "transition",
    "audit_probabilities": "run",
    "audit_samples": "run",
}

__all__ = sorted(_HOME)

if not TYPE_CHECKING:  # type checkers use the imports above instead and can report a name that does not exist

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'byrote.audit' has no attribute {name!r}")
        return getattr(importlib.import_module(f"byrote.audit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
