"""What one trained experiment leaves behind: a value that the store writes and anything can read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from byrote.experiment import Experiment

__all__ = ["Run"]

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Run:
    """The outcome of one experiment.

    Attributes:
        experiment: its spec.
        status: "done" or "failed".
        error: one sentence when it failed.
        history: columns, one row an evaluated epoch (names in docs/measures.md).
        samples: columns id, true, observed, learned_epoch (0: never learned), forgotten (times), margin, aum.
        features: columns split, id, true, observed, x, y of a share of the samples where M = 2, else empty.
        facts: what the tables say of the run besides its spec (number of classes, effective rate, ...).
        weights: the trained weights by name, where they were asked for.
        seconds: wall time of the run's cohort, and its share of it.
        numerics: which arithmetic its network ran (`byrote.engine.numerics`).
    """

    experiment: Experiment
    status: str
    error: str
    history: Columns
    samples: Columns
    features: Columns
    facts: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    numerics: Mapping[str, bool | str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.experiment.key

    @property
    def final(self) -> dict[str, Any]:
        """The last row of the history."""
        return {name: column[-1].item() for name, column in self.history.items() if len(column)}
