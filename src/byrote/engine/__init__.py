"""The engine: S plain modules of one shape trained as one.

`stack` takes plain modules, and how they are computed hangs on their structure; `ways.WAYS` says which file computes
what. An architecture never learns of the engine.
"""

from byrote.engine.ensemble import Ensemble
from byrote.engine.momentum import Descent
from byrote.engine.numerics import numerics
from byrote.engine.optimizer import EnsembleOptimizer
from byrote.engine.stacked import StackedNetwork, prefers_batched, stack

__all__ = [
    "Descent",
    "Ensemble",
    "EnsembleOptimizer",
    "StackedNetwork",
    "numerics",
    "prefers_batched",
    "stack",
]
