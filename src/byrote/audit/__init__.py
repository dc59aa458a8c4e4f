"""Audit of a user's own labels: how many are wrong, which, and how sure that is.

Each name is loaded when first used, so that what was audited can be read, planned and settled without torch.
"""

import importlib
from typing import Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'byrote.audit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"byrote.audit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
