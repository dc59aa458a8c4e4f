"""The engine: S plain modules of the same shape are trained as one module.

`stack` takes plain modules and chooses from their structure how to compute them; `ways.WAYS` lists the possible ways
and the files that implement them. Network architectures do not depend on the engine.
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
