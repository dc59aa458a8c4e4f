"""The engine: S plain modules of one shape trained as one.

`stack` takes plain modules and chooses by their structure how to compute them; `ways.WAYS` lists the file for each way.
Network architectures do not depend on the engine.
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
